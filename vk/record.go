package vk

import (
	"fmt"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// record creates what the program needs from Vulkan and fills its command buffers. After an error the
// program keeps what was created until Release or Close.
func (p *Program) record() error {
	p.estimate()
	if err := p.createPools(); err != nil {
		return err
	}
	p.bounds = p.cut()
	return p.recordSegments()
}

// planCommands is plan with a barrier at each timestamp that has commands before it: nothing that
// follows may start before the time is taken. What such a barrier orders needs no other.
func planCommands(list []instruction) []bool {
	barriers := make([]bool, len(list))
	start := 0 // of the commands since the last timestamp
	var accesses [][]access
	flush := func() {
		copy(barriers[start:], plan(accesses))
		accesses = accesses[:0]
	}
	for i := range list {
		if list[i].kind != timestampCommand {
			accesses = append(accesses, list[i].accesses)
			continue
		}
		barriers[i] = len(accesses) > 0
		flush()
		start = i + 1
	}
	flush()
	return barriers
}

// createPools makes a descriptor pool and a query pool of exactly the sizes that the commands need, and the
// descriptor sets.
func (p *Program) createPools() error {
	d := p.device
	if err := p.createDescriptorSets(); err != nil {
		return err
	}
	if n := p.queryCount(); n > 0 {
		info := vulkan.QueryPoolCreateInfo{
			SType:      vulkan.StructureTypeQueryPoolCreateInfo,
			QueryType:  vulkan.QueryTypeTimestamp,
			QueryCount: n,
		}
		var queries vulkan.QueryPool
		result := vulkan.CreateQueryPool(d.handle, &info, nil, &queries)
		info.Free()
		if result != vulkan.Success {
			return d.check(result, "vkCreateQueryPool", fmt.Sprintf("%d timestamps", n))
		}
		p.queries = queries
	}
	return nil
}

// queryCount is that of the timestamps, and of the start and the ends of as many segments as there may be.
func (p *Program) queryCount() uint32 {
	if p.timed {
		return uint32(p.stamps + 1 + len(p.list))
	}
	return uint32(p.stamps)
}

func (p *Program) writeTime(cmd vulkan.CommandBuffer, query int) {
	vulkan.CmdWriteTimestamp(cmd, vulkan.PipelineStageBottomOfPipeBit, p.queries, uint32(query))
}

// recordCommand adds one command; bound is the kernel of the dispatch before it in the command buffer.
func (p *Program) recordCommand(cmd vulkan.CommandBuffer, c *instruction, bound *Kernel) {
	switch c.kind {
	case dispatchCommand:
		c.recordDispatch(cmd, bound)
	case copyCommand:
		dst, src := c.args[0], c.args[1]
		cmdCopy(cmd, src.Buffer.handle, src.Offset, dst.Buffer.handle, dst.Offset, dst.Size)
	case fillCommand:
		dst := c.args[0]
		vulkan.CmdFillBuffer(cmd, dst.Buffer.handle, vulkan.DeviceSize(dst.Offset), vulkan.DeviceSize(dst.Size), c.word)
	case timestampCommand:
		p.writeTime(cmd, c.query)
	}
}

func (c *instruction) recordDispatch(cmd vulkan.CommandBuffer, bound *Kernel) {
	k := c.kernel
	if k != bound {
		vulkan.CmdBindPipeline(cmd, vulkan.PipelineBindPointCompute, k.pipeline)
	}
	if c.set != nil {
		vulkan.CmdBindDescriptorSets(cmd, vulkan.PipelineBindPointCompute, k.layout, 0, 1, []vulkan.DescriptorSet{c.set}, 0, nil)
	}
	if len(c.push) > 0 {
		vulkan.CmdPushConstants(cmd, k.layout, vulkan.ShaderStageFlags(vulkan.ShaderStageComputeBit),
			0, uint32(len(c.push)), unsafe.Pointer(&c.push[0]))
	}
	vulkan.CmdDispatch(cmd, c.groups[0], c.groups[1], c.groups[2])
}

// destroyProgram frees what the program has; record may have stopped half-way.
func (d *Device) destroyProgram(p *Program) {
	for _, s := range p.segments {
		vulkan.FreeCommandBuffers(d.handle, d.commands, 1, []vulkan.CommandBuffer{s.cmd})
	}
	if p.pool != nil {
		vulkan.DestroyDescriptorPool(d.handle, p.pool, nil)
	}
	for _, v := range p.views {
		vulkan.DestroyBufferView(d.handle, v, nil)
	}
	if p.queries != nil {
		vulkan.DestroyQueryPool(d.handle, p.queries, nil)
	}
	for b := range p.buffers {
		delete(b.programs, p)
	}
	p.segments, p.pool, p.queries, p.views = nil, nil, nil, nil
	p.buffers, p.list, p.released = nil, nil, true
	delete(d.programs, p)
}
