package vk

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// Program is a recorded list of commands that can be submitted again and again, also while an earlier
// submission of it is running. Dispatch, Copy, Fill and Timestamp add to it until End. The first error
// sticks: later calls do nothing and End returns it.
type Program struct {
	device *Device
	err    error
	list   []instruction // nil once the program is settled
	stamps int
	stats  ProgramStats

	segments     []segment
	bounds       []int  // of the segments in list
	barriers     []bool // before the commands of list
	timed        bool   // when the segments end
	recorded     bool   // the segments are those of bounds
	ran          bool   // since then
	measurements int

	pool    vulkan.DescriptorPool
	queries vulkan.QueryPool
	views   []vulkan.BufferView // in the descriptor sets
	buffers map[*Buffer]struct{}

	ended    bool
	broken   bool // one of its buffers was released
	released bool
	last     Ticket // its latest submission
}

// ProgramStats counts what a program does per run. Barriers are those between its commands; each run
// has one more at its start and one at its end.
// Submissions are the parts that it is cut into now.
type ProgramStats struct{ Dispatches, Copies, Fills, Barriers, Submissions int }

type commandKind uint8

const (
	dispatchCommand commandKind = iota
	copyCommand
	fillCommand
	timestampCommand
)

// instruction is one call before End.
type instruction struct {
	kind     commandKind
	kernel   *Kernel
	groups   [3]uint32
	push     []byte
	args     []Span // of a copy: destination, source; of a fill: destination
	word     uint32 // of a fill
	query    int    // of a timestamp
	accesses []access
	set      vulkan.DescriptorSet
	nanos    float64 // estimated
}

// NewProgram returns an empty program.
func (d *Device) NewProgram() *Program {
	p := &Program{device: d, err: d.usable(), buffers: map[*Buffer]struct{}{}}
	if !d.closed {
		d.programs[p] = struct{}{}
	}
	return p
}

// recording says whether commands may be added; adding after End is an error of its own.
func (p *Program) recording() bool {
	if p.err == nil && (p.ended || p.released) {
		p.fail("vk: command added to a program after End or Release")
	}
	return p.err == nil
}

// Err is the first error of the recording so far.
func (p *Program) Err() error { return p.err }

func (p *Program) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// Dispatch runs groups workgroups of the kernel. push is its push-constant block, exactly
// Kernel.PushBytes long; args are its buffers by binding number. A kernel that is not compiled yet is now. Span offsets are multiples of
// Caps.StorageAlign, sizes at most Caps.MaxStorageRange, and of a texel buffer Caps.MaxTexels items.
func (p *Program) Dispatch(k *Kernel, groups [3]uint32, push []byte, args ...Span) {
	if !p.recording() {
		return
	}
	if err := p.checkDispatch(k, groups, push, args); err != nil {
		p.err = err
		return
	}
	accesses := make([]access, len(args))
	for i, a := range args {
		accesses[i] = a.access(k.access[i])
	}
	for i := range k.descriptors { // as they are bound
		d := &k.descriptors[i]
		accesses[d.arg].size = max(accesses[d.arg].size, d.bytes(args[d.arg].Size))
	}
	p.add(instruction{
		kind:     dispatchCommand,
		kernel:   k,
		groups:   groups,
		push:     append([]byte(nil), push...),
		args:     append([]Span(nil), args...),
		accesses: accesses,
	})
	p.stats.Dispatches++
}

func (p *Program) checkDispatch(k *Kernel, groups [3]uint32, push []byte, args []Span) error {
	if k == nil || k.device != p.device {
		return errors.New("vk: dispatch: no kernel, or one of another device")
	}
	if err := k.Compile(); err != nil {
		return err
	}
	caps := &p.device.physical.info.Caps
	for i, n := range groups {
		if n == 0 || n > caps.MaxGroups[i] {
			return fmt.Errorf("vk: dispatch %s: %v workgroups, the device allows 1 to %v", k.name, groups, caps.MaxGroups)
		}
	}
	if len(push) != k.pushBytes {
		return fmt.Errorf("vk: dispatch %s: %d bytes of push constants, the shader has %d", k.name, len(push), k.pushBytes)
	}
	if len(args) != len(k.access) {
		return fmt.Errorf("vk: dispatch %s: %d buffers, the shader has %d", k.name, len(args), len(k.access))
	}
	for i, a := range args {
		err := a.check(p.device)
		switch {
		case err != nil:
		case uint64(a.Offset)%caps.StorageAlign != 0:
			err = fmt.Errorf("offset %d, the device wants multiples of %d", a.Offset, caps.StorageAlign)
		case uint64(roundUp(a.Size, 4)) > caps.MaxStorageRange:
			err = fmt.Errorf("%d bytes, the device allows %d in a range", a.Size, caps.MaxStorageRange)
		}
		if err != nil {
			return fmt.Errorf("vk: dispatch %s: binding %d: %w", k.name, i, err)
		}
	}
	for i := range k.descriptors {
		d := &k.descriptors[i]
		if items := uint64(d.bytes(args[d.arg].Size) / d.itemBytes()); d.isTexel() && items > caps.MaxTexels {
			return fmt.Errorf("vk: dispatch %s: binding %d: %d items, the device allows %d in a texel buffer", k.name, d.binding, items, caps.MaxTexels)
		}
	}
	return nil
}

// access is the span as the barrier planner sees it.
func (s Span) access(mode Access) access {
	return access{buf: s.Buffer.id, off: s.Offset, size: s.Size, mode: mode}
}

// Copy copies src to dst, which have the same size and do not overlap.
func (p *Program) Copy(dst, src Span) {
	if !p.recording() {
		return
	}
	if err := dst.check(p.device); err != nil {
		p.fail("vk: copy: destination: %w", err)
		return
	}
	if err := src.check(p.device); err != nil {
		p.fail("vk: copy: source: %w", err)
		return
	}
	if dst.Size != src.Size {
		p.fail("vk: copy: %d bytes to %d", src.Size, dst.Size)
		return
	}
	if dst.Buffer == src.Buffer && dst.Offset < src.Offset+src.Size && src.Offset < dst.Offset+dst.Size {
		p.fail("vk: copy: %d bytes at offset %d overlap those at %d", src.Size, src.Offset, dst.Offset)
		return
	}
	p.add(instruction{kind: copyCommand, args: []Span{dst, src}, accesses: []access{dst.access(Write), src.access(Read)}})
	p.stats.Copies++
}

// Fill sets every 4-byte word of dst. Its offset and size are multiples of 4.
func (p *Program) Fill(dst Span, word uint32) {
	if !p.recording() {
		return
	}
	if err := dst.check(p.device); err != nil {
		p.fail("vk: fill: %w", err)
		return
	}
	if dst.Offset%4 != 0 || dst.Size%4 != 0 {
		p.fail("vk: fill: %d bytes at offset %d are not whole words", dst.Size, dst.Offset)
		return
	}
	p.add(instruction{kind: fillCommand, args: []Span{dst}, word: word, accesses: []access{dst.access(Write)}})
	p.stats.Fills++
}

// Timestamp marks the time when all commands before it have ended; those after it start later. The
// result is the index into Times. It is an error on a device whose Caps.TimestampPeriod is 0.
func (p *Program) Timestamp() int {
	if !p.recording() {
		return 0
	}
	if p.device.physical.info.Caps.TimestampPeriod == 0 {
		p.fail("vk: timestamp: the device has none")
		return 0
	}
	p.add(instruction{kind: timestampCommand, query: p.stamps})
	p.stamps++
	return p.stamps - 1
}

func (p *Program) add(c instruction) {
	for _, a := range c.args {
		p.buffers[a.Buffer] = struct{}{}
	}
	p.list = append(p.list, c)
}

// End plans the barriers and records the commands; the program can then be submitted. It returns the
// first error of the recording.
func (p *Program) End() error {
	if p.recording() {
		p.err = p.device.usable()
	}
	if p.err != nil {
		return p.err
	}
	for b := range p.buffers {
		if b.released {
			p.fail("vk: program uses a released buffer of %d bytes", b.size)
			return p.err
		}
	}
	p.barriers = planCommands(p.list)
	for _, b := range p.barriers {
		if b {
			p.stats.Barriers++
		}
	}
	if p.device.compileOnly {
		p.list = nil
	} else if p.err = p.record(); p.err != nil {
		return p.err
	}
	for b := range p.buffers {
		b.programs[p] = struct{}{}
	}
	p.ended = true
	return nil
}

// Stats counts the program's commands.
func (p *Program) Stats() ProgramStats {
	s := p.stats
	s.Submissions = len(p.segments)
	return s
}

// Barriers says which of the commands, in the order they were added, have a memory barrier before them. It is nil
// before End and must not be changed.
func (p *Program) Barriers() []bool { return p.barriers }

// submittable says why a program cannot be submitted.
func (p *Program) submittable(d *Device) error {
	switch {
	case p.device != d:
		return errors.New("made by another device")
	case p.err != nil:
		return p.err
	case p.released:
		return errors.New("released")
	case !p.ended:
		return errors.New("End was not called")
	case p.broken:
		return errors.New("one of its buffers was released")
	}
	return nil
}

// Times waits for the program's latest submission and returns when its Timestamps passed, in
// nanoseconds after the first of them.
func (p *Program) Times(ctx context.Context) ([]float64, error) {
	if p.err != nil {
		return nil, p.err
	}
	if p.stamps == 0 || p.last == 0 || p.released {
		return nil, fmt.Errorf("vk: times of a program with %d timestamps, last submission %d", p.stamps, p.last)
	}
	d := p.device
	if err := d.WaitTicket(ctx, p.last); err != nil {
		return nil, err
	}
	return p.times(0, p.stamps)
}

// times reads n queries from the first on.
func (p *Program) times(first, n int) ([]float64, error) {
	d := p.device
	ticks := make([]uint64, n)
	result := vulkan.GetQueryPoolResults(d.handle, p.queries, uint32(first), uint32(n), uint(8*n),
		unsafe.Pointer(&ticks[0]), 8, vulkan.QueryResultFlags(vulkan.QueryResult64Bit|vulkan.QueryResultWaitBit))
	if result != vulkan.Success {
		return nil, d.check(result, "vkGetQueryPoolResults", "")
	}
	times := make([]float64, n)
	for i, t := range ticks {
		// The counter has so many valid bits and may have wrapped round since the first timestamp.
		unused := 64 - uint(d.physical.facts.timestamp_bits)
		times[i] = float64((t-ticks[0])<<unused>>unused) * d.physical.info.Caps.TimestampPeriod
	}
	return times, nil
}

// Release frees the program once its submissions are done. Releasing again does nothing.
func (p *Program) Release() {
	if p == nil || p.released || p.device == nil {
		return
	}
	p.released = true
	if !p.device.closed {
		p.device.condemn(condemned{program: p})
	}
}
