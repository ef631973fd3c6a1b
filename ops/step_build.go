package ops

import (
	"fmt"

	"github.com/lemnos-ml/lemnos/vk"
)

// build allocates and records.
func (s *Step) build() error {
	if err := s.dev.Compile(background, nil); err != nil { // here for all at once; dispatch returns what was wrong with one
		return fmt.Errorf("ops: compile: %w", err)
	}
	if err := s.buildInputs(); err != nil {
		return err
	}
	l := s.layout
	if err := allocate(&s.arena, l.arena, s.dev.NewBuffer, "intermediates"); err != nil {
		return err
	}
	for _, m := range l.mems {
		m.buf = s.arena[m.buffer]
	}
	s.main = s.dev.NewProgram()
	for _, c := range l.calls {
		for _, t := range c.Args {
			if r := t.mem.root(); r != t.mem {
				t.mem.buf, t.mem.base = r.buf, r.base
			}
		}
		if err := s.graph.dispatch(s.main, c); err != nil {
			return err
		}
	}
	if err := s.main.End(); err != nil {
		return fmt.Errorf("ops: compile: %w", err)
	}
	return s.buildTransfers()
}

// allocate makes buffers of the sizes.
func allocate(list *[]*vk.Buffer, sizes []int64, create func(int64) (*vk.Buffer, error), what string) error {
	for _, size := range sizes {
		b, err := create(size)
		if err != nil {
			return fmt.Errorf("ops: compile: %s in buffers of %d bytes: %w", what, sizes, err)
		}
		*list = append(*list, b)
	}
	return nil
}

// buildInputs allocates the blocks of inputs and their ring.
func (s *Step) buildInputs() error {
	sizes := s.layout.inputs
	if err := allocate(&s.inputs, sizes, s.dev.NewBuffer, "inputs"); err != nil {
		return err
	}
	for slot := range s.inHost {
		if err := allocate(&s.inHost[slot], sizes, s.dev.NewHostBuffer, "inputs"); err != nil {
			return err
		}
	}
	for _, n := range sizes {
		s.shadow = append(s.shadow, make([]byte, n))
	}
	for _, in := range s.graph.inputs {
		m := in.tensor.mem
		m.buf = s.inputs[m.buffer]
		shadow := s.shadow[m.buffer][m.base : m.base+m.size]
		copy(shadow, in.shadow)
		in.shadow = shadow
	}
	return nil
}

// buildTransfers records the copies before and after the main program, for each
// slot of the rings.
func (s *Step) buildTransfers() error {
	for _, o := range s.graph.outputs {
		o.step = s
		if err := o.tensor.mem.allocate(); err != nil {
			return err
		}
	}
	for slot := range s.outHost {
		if err := allocate(&s.outHost[slot], s.layout.outputs, s.dev.NewHostBuffer, "outputs"); err != nil {
			return err
		}
	}
	var transfers []*vk.Program
	program := func(needed bool) *vk.Program {
		if !needed {
			return nil
		}
		transfers = append(transfers, s.dev.NewProgram())
		return transfers[len(transfers)-1]
	}
	var uploads [ring]*vk.Program
	var downloads [outRing]*vk.Program
	for slot := range uploads {
		uploads[slot] = program(len(s.inputs) > 0)
		for i, b := range s.inputs {
			uploads[slot].Copy(b.Span(0, b.Size()), s.inHost[slot][i].Span(0, b.Size()))
		}
	}
	for slot := range downloads {
		downloads[slot] = program(len(s.graph.outputs) > 0)
		for _, o := range s.graph.outputs {
			m := o.tensor.mem
			downloads[slot].Copy(s.outHost[slot][o.block].Span(o.offset, m.size), m.buf.Span(m.base, m.size))
		}
	}
	for i := range s.batches {
		for _, p := range []*vk.Program{uploads[i%ring], s.main, downloads[i%outRing]} {
			if p != nil {
				s.batches[i] = append(s.batches[i], p)
			}
		}
	}
	for _, p := range transfers {
		if err := p.End(); err != nil {
			return fmt.Errorf("ops: compile: %w", err)
		}
	}
	return nil
}
