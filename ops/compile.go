package ops

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// Compile schedules the graph: it drops operations nobody needs, places the
// intermediates, compiles the kernels that the device has not compiled yet, and
// records the step. It returns the first error of building,
// and then has released what the graph owned. The graph can't be extended
// afterwards.
func (g *Graph) Compile() (*Step, error) {
	l, err := g.layOut()
	if err != nil {
		return nil, err
	}
	g.built = true
	s := &Step{graph: g, dev: g.dev, layout: l}
	if err := s.build(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Footprint is the memory of a compiled graph, in bytes, beside that of the
// tensors which others made.
type Footprint struct {
	Arena  int64 // intermediates, overlaid
	Inputs int64 // the input block on the device
	Owned  int64 // tables and flags that the graph made for itself
	Host   int64 // rings of inputs and outputs in the host's memory
}

// Plan returns what Compile will have allocated, before it does, and compiles no
// kernel. The graph can't be extended afterwards; its errors are those of Compile
// that need neither.
func (g *Graph) Plan() (Footprint, error) {
	l, err := g.layOut()
	if err != nil {
		return Footprint{}, err
	}
	f := Footprint{Arena: sum(l.arena), Inputs: sum(l.inputs), Host: ring*sum(l.inputs) + outRing*sum(l.outputs)}
	for _, t := range g.owned {
		f.Owned += t.mem.size
	}
	return f, nil
}

// layout is a scheduled graph in which everything has its place.
type layout struct {
	calls           []*scheduled
	mems            []*memory // of the arena
	arena           []int64   // bytes of each of its buffers
	inputs, outputs []int64   // bytes of the blocks of one slot of the rings
	status          *output   // set when a call checks indices, here or in a graph that is heeded
	writes, reads   []*Tensor // what Tensor.Written tells of, of memory that is not the graph's
	gradients       []*memory // of parameters, that calls compute
	updated         []*Tensor // parameters, by theirs
}

// layOut schedules the graph and places inputs, intermediates and outputs.
func (g *Graph) layOut() (*layout, error) {
	switch {
	case g.immediate:
		return nil, fmt.Errorf("ops: compile: an immediate graph has run already")
	case g.built:
		return nil, errors.New("ops: compile: called twice")
	case g.err != nil:
		g.Release()
		return nil, g.err
	case g.layout != nil:
		return g.layout, nil
	}
	if !g.check(len(g.updated) == 0 || len(g.tape) == 0 || len(g.grads) > 0, "compile", "an optimizer was recorded, but Backward was never called: the gradients would be those of the run before") {
		g.Release()
		return nil, g.err
	}
	g.compiled = true
	calls, err := g.schedule()
	if err != nil {
		g.err = err
		g.Release()
		return nil, err
	}
	l := &layout{calls: calls, mems: transients(calls)}
	align := int64(max(g.dev.Info().Caps.StorageAlign, 16))
	limit := int64(g.dev.Info().Caps.MaxAllocation)
	for _, in := range g.inputs {
		m := in.tensor.mem
		m.buffer, m.base = pack(&l.inputs, m.size, align, limit)
	}
	for _, m := range l.mems {
		m.from, m.to = calls[m.first].epoch, len(calls)
		if m.last < len(calls) {
			m.to = calls[m.last].epoch
		}
	}
	l.arena = place(l.mems, align, limit)
	for _, c := range calls {
		if l.status == nil && (g.heeds || c.node.checksIDs()) {
			g.outputs = append(g.outputs, &output{tensor: g.status})
			l.status = g.output(g.status)
		}
	}
	l.outside(g.status)
	l.useGradients(g)
	for _, o := range g.outputs {
		o.block, o.offset = pack(&l.outputs, o.tensor.mem.size, align, limit)
	}
	g.layout = l
	return l, nil
}

// schedule lists the calls to record, in order, without dead ones, and sets the
// lifetime of each memory.
func (g *Graph) schedule() ([]*scheduled, error) {
	all, err := g.scheduled()
	if err != nil {
		return nil, err
	}
	calls, err := g.fuse(live(all))
	if err == nil {
		calls, err = g.listSums(calls)
	}
	if err != nil {
		return nil, fmt.Errorf("ops: compile: %w", err)
	}
	calls = overlap(calls)
	if len(calls) == 0 && len(g.outputs) == 0 {
		return nil, errors.New("ops: compile: the graph computes nothing that is kept: call Output with what is to be read after a run")
	}
	if err := g.lifetimes(calls); err != nil {
		return nil, err
	}
	for _, c := range calls {
		if err := g.fits(c); err != nil {
			return nil, err
		}
	}
	takeOver(calls)
	spare(all, calls)
	return calls, nil
}

// scheduled lists all calls with their kernels.
func (g *Graph) scheduled() (all []*scheduled, err error) {
	for _, n := range g.nodes {
		for i := range n.calls {
			k, err := g.load(&n.calls[i])
			if err != nil {
				return nil, fmt.Errorf("ops: %s: %w (at %s)", n.op, err, n.where)
			}
			all = append(all, &scheduled{Call: &n.calls[i], node: n, kernel: k})
		}
	}
	return all, nil
}

// live leaves out the calls whose results nothing needs, and notes which inputs the
// others read.
func live(all []*scheduled) (calls []*scheduled) {
	needed := map[*memory]bool{}
	for _, c := range slices.Backward(all) {
		use := false
		for i, t := range c.Args {
			use = use || c.writes(i) && (t.mem.keep || needed[t.mem])
		}
		if !use {
			continue
		}
		for i, t := range c.Args {
			needed[t.mem] = true
			if in := t.mem.input; in != nil && c.kernel.Bindings()[i]&vk.Read != 0 {
				in.read = true
			}
		}
		calls = append(calls, c)
	}
	slices.Reverse(calls)
	return calls
}

// lifetimes sets the first and the last call that touch each intermediate; what is
// kept lives on after the last call.
func (g *Graph) lifetimes(calls []*scheduled) error {
	seen := map[*memory]bool{}
	for at, c := range calls {
		for i, t := range c.Args {
			m := t.mem
			if m.graph == nil || m.input != nil {
				continue
			}
			if !seen[m] {
				if !c.writes(i) {
					return fmt.Errorf("ops: %s: %v is read before anything writes it (at %s)", c.node.op, t, c.node.where)
				}
				seen[m], m.first = true, at
			}
			m.last = at
			if m.keep {
				m.last = len(calls)
			}
		}
	}
	for _, o := range g.outputs {
		if m := o.tensor.mem; m.graph != nil && m.input == nil && !seen[m] {
			return fmt.Errorf("ops: output: nothing computes %v", o.tensor)
		}
	}
	return nil
}

// takeOver lets outputs have the memory of inputs that end with the call.
func takeOver(calls []*scheduled) {
	for at, c := range calls {
		out, in := c.Args[c.TakeOver[0]].mem, c.Args[c.TakeOver[1]].mem
		if out != in && out.graph != nil && in.graph != nil && in.input == nil &&
			out.first == at && in.last == at && out.size == in.size {
			out.taken = in.root()
			out.taken.last = out.last
		}
	}
}

// load returns the kernel of a call, specialized for the device.
func (g *Graph) load(c *Call) (*vk.Kernel, error) {
	name, code, types, err := g.code(c)
	if err != nil {
		return nil, err
	}
	spec := map[uint32]uint32{shaders.SpecLocal: g.local(c), shaders.SpecSubgroups: g.tune.subgroups(g.local(c)), shaders.SpecWork: g.work(c)}
	maps.Copy(spec, types)
	maps.Copy(spec, c.Spec)
	k, err := g.dev.Kernel(name, code, spec)
	if err != nil {
		return nil, err
	}
	for id := range c.Spec {
		if _, ok := k.Constant(id); !ok {
			return nil, fmt.Errorf("%s: there is no specialization constant %d", c.Kernel, id)
		}
	}
	switch {
	case len(c.Args) != len(k.Bindings()):
		return nil, fmt.Errorf("%s: %d arguments for %d bindings", c.Kernel, len(c.Args), len(k.Bindings()))
	case c.Local != 0 && k.LocalSize()[0] != c.Local:
		return nil, fmt.Errorf("%s: Local is %d, its workgroups have a size of %v", c.Kernel, c.Local, k.LocalSize())
	case c.Items <= 0 && c.Threads <= 0 && c.Groups <= 0:
		return nil, fmt.Errorf("%s: no items, invocations or workgroups to run", c.Kernel)
	case c.Items != 0 && c.Threads != 0 || c.Groups != 0 && c.Items+c.Threads != 0:
		return nil, fmt.Errorf("%s: %d items, %d invocations and %d workgroups: say one of the three", c.Kernel, c.Items, c.Threads, c.Groups)
	case c.Push != nil && binary.Size(c.Push) < 0:
		return nil, fmt.Errorf("%s: push constants are a %T, want a struct of uint32, int32 and float32", c.Kernel, c.Push)
	case max(c.TakeOver[0], c.TakeOver[1]) >= len(c.Args) || min(c.TakeOver[0], c.TakeOver[1]) < 0:
		return nil, fmt.Errorf("%s: take-over %v of %d arguments", c.Kernel, c.TakeOver, len(c.Args))
	}
	return k, nil
}

// code returns the SPIR-V of a call, the name it has for the device, and the
// constants that say which storage types its 16-bit values are of.
func (g *Graph) code(c *Call) (name string, code []byte, types map[uint32]uint32, err error) {
	name = c.Kernel
	if c.SPIRV != nil {
		return name, c.SPIRV, nil, nil
	}
	module, types := shaders.Module(name)
	if g.tune.wide && shaders.Has(module+"_wide") {
		name, module = name+"_wide", module+"_wide"
	}
	if code, err = shaders.Load(module); err == nil && !g.tune.arithmetic {
		code = shaders.WithoutArithmetic(code)
	}
	return name, code, types, err
}

func (g *Graph) local(c *Call) uint32 { return cmp.Or(c.Local, g.tune.local) }

// work returns how many groups of four values an invocation of c takes at a time.
func (g *Graph) work(c *Call) uint32 {
	if c.Items >= 32*int(g.local(c)*g.tune.largeWork) { // enough for every core
		return g.tune.largeWork
	}
	return g.tune.work
}

// dispatch records one call.
func (g *Graph) dispatch(p *vk.Program, c *scheduled) error {
	var push []byte
	if c.Push != nil {
		var err error
		if push, err = binary.Append(nil, binary.LittleEndian, c.Push); err != nil {
			return fmt.Errorf("ops: %s: push constants: %w", c.Kernel, err)
		}
	}
	spans := make([]vk.Span, len(c.Args))
	for i, t := range c.Args {
		if err := t.mem.allocate(); err != nil {
			return err
		}
		spans[i] = t.span()
	}
	if word, ok := c.plainFill(); ok {
		p.Fill(spans[0], word)
		return nil
	}
	size := c.kernel.LocalSize()
	groups, local := c.Groups, int(size[0]*size[1]*size[2])
	switch {
	case c.Items > 0:
		groups = ceilDiv(c.Items, local)
		if work, ok := c.kernel.Constant(shaders.SpecWork); ok {
			groups = min(ceilDiv(groups, int(work)), g.tune.maxGroups)
		}
	case c.Threads > 0:
		groups = ceilDiv(c.Threads, local)
	}
	p.Dispatch(c.kernel, grid(groups, g.dev.Info().Caps.MaxGroups), push, spans...)
	if err := p.Err(); err != nil {
		return fmt.Errorf("ops: %s: %w (at %s)", c.node.op, err, c.node.where)
	}
	return nil
}

// grid spreads n workgroups over x and y; kernels flatten it again and ignore
// the few too many.
func grid(n int, limit [3]uint32) [3]uint32 {
	x := min(n, int(limit[0]))
	return [3]uint32{uint32(x), uint32(ceilDiv(n, x)), 1}
}

// runNow executes one node of an immediate graph and waits for it.
func (g *Graph) runNow(n *node) error {
	p := g.dev.NewProgram()
	defer p.Release()
	for i := range n.calls {
		k, err := g.load(&n.calls[i])
		if err != nil {
			return fmt.Errorf("ops: %s: %w (at %s)", n.op, err, n.where)
		}
		for j, t := range n.calls[i].Args {
			unwritten := t.mem.unwritten || !t.dtype.Float() && t.mem != g.status.mem && t.Written() == 0
			if unwritten && k.Bindings()[j]&vk.Read != 0 {
				return fmt.Errorf("ops: %s: %v has no values yet: call Upload first (at %s)", n.op, t, n.where)
			}
			if k.Bindings()[j]&vk.Write != 0 {
				t.wrote()
				t.mem.compute()
			}
		}
		if err := g.dispatch(p, &scheduled{Call: &n.calls[i], node: n, kernel: k}); err != nil {
			return err
		}
	}
	if err := p.End(); err != nil {
		return fmt.Errorf("ops: %s: %w", n.op, err)
	}
	ticket, err := g.dev.Submit(p)
	if err == nil {
		err = g.dev.WaitTicket(background, ticket)
	}
	if err != nil {
		return fmt.Errorf("ops: %s: %w", n.op, err)
	}
	n.ran = true
	if n.checksIDs() {
		var st [4]uint32
		if err := Download(background, g.status, st[:]); err != nil {
			return err
		}
		return n.badIndex(st)
	}
	return nil
}

func (n *node) checksIDs() bool {
	return slices.ContainsFunc(n.calls, func(c Call) bool {
		_, ids := c.Push.(idsPush)
		return ids
	})
}
