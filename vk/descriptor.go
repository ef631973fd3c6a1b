package vk

import (
	"fmt"

	vulkan "github.com/vulkan-go/vulkan"
)

// descriptor is how a shader gets at an argument of Dispatch: a storage buffer, or a texel buffer.
//
// A texel buffer has binding texelBindings + i and shows argument i, which may have a storage buffer too. The shader reads
// items of a fixed format from it, as from an image: lavapipe loads those with vector instructions, and what is in a
// storage buffer lane by lane, word by word.
type descriptor struct {
	binding uint32
	arg     int
	texel   vulkan.Format // FormatUndefined: a storage buffer
}

// texelBindings is the binding of the texel buffer of argument 0.
const texelBindings = 16

// Formats of texel buffers by what the shader calls their items: of these every device can make a view.
const (
	floatTexels = vulkan.FormatR32g32b32a32Sfloat // textureBuffer
	uintTexels  = vulkan.FormatR32g32Uint         // utextureBuffer
)

func (d *descriptor) isTexel() bool { return d.texel != vulkan.FormatUndefined }

// itemBytes is the size of what the shader reads at once.
func (d *descriptor) itemBytes() int64 {
	switch d.texel {
	case floatTexels:
		return 16
	case uintTexels:
		return 8
	}
	return 4
}

// bytes is how much the descriptor covers of an argument of size bytes: whole items, up to bufferPadding more.
//
// llvmpipe (seen in Mesa 22.3) takes bits 8 to 15 of the size of a view for the last mip level of a texture, as the two
// share a union, and compiles a kernel again for each combination of views where that is 0 and where it is not
// (level_zero_only in lp_sampler_static_texture_state,
// https://gitlab.freedesktop.org/mesa/mesa/-/blob/mesa-22.3.6/src/gallium/auxiliary/gallivm/lp_bld_sample.c). It never
// is here: tests of matrix products, with no shader cache, take 108 s instead of 200.
func (d *descriptor) bytes(size int64) int64 {
	size = roundUp(size, d.itemBytes())
	if d.isTexel() && size&0xff00 == 0 {
		size += 256
	}
	return size
}

func (d *descriptor) typ() vulkan.DescriptorType {
	if d.isTexel() {
		return vulkan.DescriptorTypeUniformTexelBuffer
	}
	return vulkan.DescriptorTypeStorageBuffer
}

// countTypes counts the storage buffers and the texel buffers.
func countTypes(descriptors []descriptor) (storage, texel uint32) {
	for i := range descriptors {
		if descriptors[i].isTexel() {
			texel++
		} else {
			storage++
		}
	}
	return storage, texel
}

// createDescriptorSets makes the sets of the dispatches, and a pool of exactly the size that they need.
func (p *Program) createDescriptorSets() error {
	var sets, storage, texel uint32
	for i := range p.list {
		if c := &p.list[i]; c.kind == dispatchCommand && len(c.args) > 0 {
			s, t := countTypes(c.kernel.descriptors)
			sets, storage, texel = sets+1, storage+s, texel+t
		}
	}
	if sets == 0 {
		return nil
	}
	pool, result := p.device.newDescriptorPool(sets, storage, texel)
	if result != vulkan.Success {
		return p.device.check(result, "vkCreateDescriptorPool", fmt.Sprintf("%d sets, %d buffers", sets, storage+texel))
	}
	p.pool = pool
	for i := range p.list {
		if c := &p.list[i]; c.kind == dispatchCommand && len(c.args) > 0 {
			if err := p.createSet(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// createSet makes the descriptor set of a dispatch, and the views it needs.
func (p *Program) createSet(c *instruction) error {
	d, k, args := p.device, c.kernel, c.args
	views := make([]vulkan.BufferView, len(k.descriptors))
	for i := range k.descriptors {
		desc := &k.descriptors[i]
		if !desc.isTexel() {
			continue
		}
		span := args[desc.arg]
		info := vulkan.BufferViewCreateInfo{
			SType:  vulkan.StructureTypeBufferViewCreateInfo,
			Buffer: span.Buffer.handle,
			Format: desc.texel,
			Offset: vulkan.DeviceSize(span.Offset),
			Range:  vulkan.DeviceSize(desc.bytes(span.Size)),
		}
		result := vulkan.CreateBufferView(d.handle, &info, nil, &views[i])
		info.Free()
		if result != vulkan.Success {
			return d.check(result, "vkCreateBufferView", fmt.Sprintf("%d bytes for kernel %s", span.Size, k.name))
		}
		p.views = append(p.views, views[i])
	}
	set, result := d.newDescriptorSet(p.pool, k, args, views)
	if result != vulkan.Success {
		return d.check(result, "vkAllocateDescriptorSets", "kernel "+k.name)
	}
	c.set = set
	return nil
}
