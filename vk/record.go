package vk

import (
	"fmt"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// record creates what the program needs from Vulkan and fills its command buffer. After an error the
// program keeps what was created until Release or Close.
func (p *Program) record() error {
	d := p.device
	var err error
	if p.cmd, err = d.newCommandBuffer(); err != nil {
		return err
	}
	if err := p.createPools(); err != nil {
		return err
	}
	if err := d.begin(p.cmd, vulkan.CommandBufferUsageSimultaneousUseBit); err != nil {
		return err
	}
	if p.stamps > 0 {
		vulkan.CmdResetQueryPool(p.cmd, p.queries, 0, uint32(p.stamps))
	}
	cmdBarrier(p.cmd, deviceWrites, deviceUses)
	barriers := planCommands(p.list)
	var bound *Kernel
	for i := range p.list {
		if barriers[i] {
			cmdBarrier(p.cmd, deviceWrites, deviceUses)
			p.stats.Barriers++
		}
		c := &p.list[i]
		if err := p.recordCommand(c, bound); err != nil {
			return err
		}
		if c.kind == dispatchCommand {
			bound = c.kernel
		}
	}
	return d.end(p.cmd)
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

// createPools makes a descriptor pool and a query pool of exactly the sizes that the commands need.
func (p *Program) createPools() error {
	d := p.device
	if err := p.createDescriptorPool(); err != nil {
		return err
	}
	if p.stamps > 0 {
		info := vulkan.QueryPoolCreateInfo{
			SType:      vulkan.StructureTypeQueryPoolCreateInfo,
			QueryType:  vulkan.QueryTypeTimestamp,
			QueryCount: uint32(p.stamps),
		}
		var queries vulkan.QueryPool
		result := vulkan.CreateQueryPool(d.handle, &info, nil, &queries)
		info.Free()
		if result != vulkan.Success {
			return d.check(result, "vkCreateQueryPool", fmt.Sprintf("%d timestamps", p.stamps))
		}
		p.queries = queries
	}
	return nil
}

// recordCommand adds one command; bound is the kernel of the dispatch before it.
func (p *Program) recordCommand(c *instruction, bound *Kernel) error {
	switch c.kind {
	case dispatchCommand:
		return p.recordDispatch(c, bound)
	case copyCommand:
		dst, src := c.args[0], c.args[1]
		cmdCopy(p.cmd, src.Buffer.handle, src.Offset, dst.Buffer.handle, dst.Offset, dst.Size)
	case fillCommand:
		dst := c.args[0]
		vulkan.CmdFillBuffer(p.cmd, dst.Buffer.handle, vulkan.DeviceSize(dst.Offset), vulkan.DeviceSize(dst.Size), c.word)
	case timestampCommand:
		vulkan.CmdWriteTimestamp(p.cmd, vulkan.PipelineStageBottomOfPipeBit, p.queries, c.query)
	}
	return nil
}

func (p *Program) recordDispatch(c *instruction, bound *Kernel) error {
	k := c.kernel
	if k != bound {
		vulkan.CmdBindPipeline(p.cmd, vulkan.PipelineBindPointCompute, k.pipeline)
	}
	if len(c.args) > 0 {
		if err := p.bindArgs(k, c.args); err != nil {
			return err
		}
	}
	if len(c.push) > 0 {
		vulkan.CmdPushConstants(p.cmd, k.layout, vulkan.ShaderStageFlags(vulkan.ShaderStageComputeBit),
			0, uint32(len(c.push)), unsafe.Pointer(&c.push[0]))
	}
	vulkan.CmdDispatch(p.cmd, c.groups[0], c.groups[1], c.groups[2])
	return nil
}

// destroyProgram frees what the program has; record may have stopped half-way.
func (d *Device) destroyProgram(p *Program) {
	if p.cmd != nil {
		vulkan.FreeCommandBuffers(d.handle, d.commands, 1, []vulkan.CommandBuffer{p.cmd})
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
	p.cmd, p.pool, p.queries, p.views = nil, nil, nil, nil
	p.buffers, p.list, p.released = nil, nil, true
	delete(d.programs, p)
}
