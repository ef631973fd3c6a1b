package vk

import (
	"context"

	vulkan "github.com/vulkan-go/vulkan"
)

// Systems give a device up whose submission takes too long: Linux that of an AMD card after 2 s or 10, Windows
// any after 2 s. So a program is recorded in segments, and a submission is as many of them as stay under a
// budget. How long commands take is estimated from the bytes they are given, carefully, and then measured: the
// first run is cut finely, the next ones into as few segments as fit. A single command is not cut.
const (
	submissionBudget = 500e6 // ns in one vkQueueSubmit

	// What is assumed of a device before anything was measured on it.
	slowByte    = 1 / 0.128 // ns for a byte of a command's spans: 128 MB/s
	slowCommand = 1e6       // ns for the command, in addition

	// A program may be so many times slower, as a multiple of what is assumed of it, than the last one that was
	// measured: as much as matrix products are than copies, on most devices.
	paceMargin = 16
	// A program is measured when it might take so many ns on the slowest device.
	worthMeasuring = submissionBudget / 50
	// The first measurements may be those of a driver that still compiles, or of a clock that still rises.
	maxMeasurements = 4
)

// segment is a run of a program's commands, in a command buffer of its own.
type segment struct {
	cmd   vulkan.CommandBuffer
	nanos float64 // estimated or measured
}

// assumed is what a command takes on the slowest device that is provided for, in ns.
func (c *instruction) assumed() float64 {
	if c.kind == timestampCommand {
		return 0
	}
	n := slowCommand
	for _, a := range c.accesses {
		n += slowByte * float64(a.size)
	}
	return n
}

// estimate sets what the commands are expected to take, and whether to measure it.
func (p *Program) estimate() {
	var total float64
	for i := range p.list {
		c := &p.list[i]
		n := c.assumed()
		c.nanos = n * p.device.pace
		total += n
	}
	p.timed = total > worthMeasuring && p.device.physical.info.Caps.TimestampPeriod > 0
}

// cut lists the first command of each segment, and the end: one begins before the command that would take
// the one before it over the budget.
func (p *Program) cut() []int {
	bounds := []int{0}
	var sum float64
	for i := range p.list {
		n := p.list[i].nanos
		if sum > 0 && sum+n > submissionBudget {
			bounds = append(bounds, i)
			sum = 0
		}
		sum += n
	}
	return append(bounds, len(p.list))
}

// Settle waits for the run that the program's commands are measured in, if there is one to wait for, and cuts
// the program by it. The first few submissions of a program do so; then there is nothing left to do.
func (p *Program) Settle(ctx context.Context) error {
	if p.list == nil || p.submittable(p.device) != nil {
		return nil
	}
	if p.recorded {
		if !p.ran {
			return nil
		}
		if err := p.device.WaitTicket(ctx, p.last); err != nil {
			return err
		}
		times, err := p.times(p.stamps, len(p.segments)+1)
		if err != nil {
			return err
		}
		p.adjust(times)
		if p.settled() {
			p.list = nil
		}
		if p.recorded {
			p.ran = false // until it did, there is nothing to measure
			return nil
		}
	}
	return p.recordSegments()
}

// adjust learns from when the segments began and the last one ended. The program is to be recorded anew where
// that makes fewer segments, or one of them takes too long.
func (p *Program) adjust(times []float64) {
	n := len(p.segments)
	var assumed float64
	long := false
	for i := range p.segments {
		s, list := &p.segments[i], p.list[p.bounds[i]:p.bounds[i+1]]
		took := max(times[i+1]-times[i], 1)
		for j := range list {
			assumed += list[j].assumed()
			list[j].nanos *= took / s.nanos
		}
		s.nanos = took
		long = long || took > 1.5*submissionBudget && len(list) > 1
	}
	p.device.pace = min(1, paceMargin*times[n]/assumed)
	p.measurements++
	if bounds := p.cut(); p.measurements < maxMeasurements && (len(bounds)-1 < n || long) {
		p.bounds, p.recorded = bounds, false
	}
}

// settled says whether no more is to be learned: several segments are not left to one measurement.
func (p *Program) settled() bool {
	return p.recorded && (len(p.segments) == 1 || p.measurements > 1)
}

// recordSegments records the commands, cut at p.bounds, while no run of the program is on its way.
func (p *Program) recordSegments() error {
	d, n := p.device, len(p.bounds)-1
	for len(p.segments) < n {
		cmd, err := d.newCommandBuffer()
		if err != nil {
			return err
		}
		p.segments = append(p.segments, segment{cmd: cmd})
	}
	for _, s := range p.segments[n:] {
		vulkan.FreeCommandBuffers(d.handle, d.commands, 1, []vulkan.CommandBuffer{s.cmd})
	}
	p.segments = p.segments[:n]
	for i := range p.segments {
		if err := p.recordSegment(i); err != nil {
			return err
		}
	}
	p.recorded, p.ran = true, false
	if !p.timed {
		p.list = nil
	}
	return nil
}

// recordSegment fills the command buffer of segment i. A barrier orders all that was submitted before it, so
// those between the commands do wherever the program is cut.
func (p *Program) recordSegment(i int) error {
	d, s := p.device, &p.segments[i]
	if err := d.begin(s.cmd, vulkan.CommandBufferUsageSimultaneousUseBit); err != nil {
		return err
	}
	if i == 0 {
		if n := p.queryCount(); n > 0 {
			vulkan.CmdResetQueryPool(s.cmd, p.queries, 0, n)
		}
		cmdBarrier(s.cmd, deviceWrites, deviceUses)
		if p.timed {
			p.writeTime(s.cmd, p.stamps)
		}
	}
	s.nanos = 0
	var bound *Kernel
	for j := p.bounds[i]; j < p.bounds[i+1]; j++ {
		if p.barriers[j] {
			cmdBarrier(s.cmd, deviceWrites, deviceUses)
		}
		c := &p.list[j]
		p.recordCommand(s.cmd, c, bound)
		if c.kind == dispatchCommand {
			bound = c.kernel
		}
		s.nanos += c.nanos
	}
	if p.timed {
		p.writeTime(s.cmd, p.stamps+i+1)
	}
	if i < len(p.segments)-1 {
		return d.check(vulkan.EndCommandBuffer(s.cmd), "vkEndCommandBuffer", "")
	}
	return d.end(s.cmd)
}
