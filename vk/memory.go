package vk

import (
	"fmt"
	"slices"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

const (
	deviceLocal  = vulkan.MemoryPropertyFlags(vulkan.MemoryPropertyDeviceLocalBit)
	hostCached   = vulkan.MemoryPropertyFlags(vulkan.MemoryPropertyHostCachedBit)
	hostCoherent = vulkan.MemoryPropertyFlags(vulkan.MemoryPropertyHostVisibleBit | vulkan.MemoryPropertyHostCoherentBit)

	// Small buffers share blocks, since drivers allow some 4096 allocations and each costs a system call. A block is as
	// large as all before it, within these bounds: who needs little does not hold, and have the driver clear, 64 MiB.
	// Larger buffers get an allocation of their own.
	minBlock = 64 << 10
	maxBlock = 64 << 20
)

// memory hands out ranges of VkDeviceMemory.
type memory struct {
	device      *Device
	blocks      []*block
	allocations int
	bytes       int64
}

// block is one VkDeviceMemory, mapped as long as it lives where that is possible.
type block struct {
	typ    int
	handle vulkan.DeviceMemory
	mapped unsafe.Pointer // nil: not host-visible, or there was no room to map it
	ranges freeList
}

// allocation is a range of a block.
type allocation struct {
	block     *block
	off, size int64
}

// deviceMemoryType is where buffers live: device-local memory in the largest such heap, host-visible
// where the whole heap is (unified memory, resizable BAR; the small window of older cards is another
// heap and stays unused). Without device-local memory, any. -1 when bits allows no type.
func deviceMemoryType(types []memoryType, bits uint32) int {
	var largest uint64
	for _, t := range types {
		if t.flags&deviceLocal != 0 {
			largest = max(largest, t.heapSize)
		}
	}
	return bestType(types, bits, func(t memoryType) int {
		score := 0
		if t.flags&deviceLocal != 0 {
			score += 8
			if t.heapSize == largest {
				score += 4
			}
		}
		if t.flags&hostCoherent == hostCoherent {
			score += 2
			if t.flags&hostCached != 0 {
				score++
			}
		}
		return score
	})
}

// hostMemoryType is where staging and read-back live: coherent, if possible cached (reads of uncached
// memory are a hundred times slower), and rather in the host's heap than in the device's.
func hostMemoryType(types []memoryType, bits uint32) int {
	return bestType(types, bits, func(t memoryType) int {
		if t.flags&hostCoherent != hostCoherent {
			return -1
		}
		score := 0
		if t.flags&hostCached != 0 {
			score += 2
		}
		if t.flags&deviceLocal == 0 {
			score++
		}
		return score
	})
}

// unwanted are kinds of memory that need features nobody enabled here, or that are not for buffers:
// lazily allocated, protected, AMD's device-coherent and device-uncached.
const unwanted = vulkan.MemoryPropertyFlags(0x10 | 0x20 | 0x40 | 0x80)

// bestType is the first type with the highest score among those that bits allows; negative scores never win.
func bestType(types []memoryType, bits uint32, score func(memoryType) int) int {
	best, bestScore := -1, -1
	for i, t := range types {
		if bits>>i&1 == 0 || t.flags&unwanted != 0 {
			continue
		}
		if s := score(t); s > bestScore {
			best, bestScore = i, s
		}
	}
	return best
}

// allocate finds size bytes of the memory type, in a block that has room or in a new one; in a mapped one
// where the host must see them.
func (m *memory) allocate(typ int, size, align int64, mapped bool) (allocation, error) {
	p := m.device.physical
	largest := min(maxBlock, roundUp(int64(p.memory[typ].heapSize/16), 1<<16), int64(p.facts.max_allocation))
	if size <= largest/2 {
		var held int64
		for _, b := range m.blocks {
			if b.typ != typ {
				continue
			}
			held += b.ranges.size
			if mapped && b.mapped == nil {
				continue
			}
			if off, ok := b.ranges.take(size, align); ok {
				return allocation{b, off, size}, nil
			}
		}
		// A device that has no room for another whole block, or to map one, may still have it for this buffer.
		if b, err := m.newBlock(typ, min(max(minBlock, 2*size, held), largest), mapped); err == nil {
			off, _ := b.ranges.take(size, align)
			return allocation{b, off, size}, nil
		} else if m.device.lost != nil {
			return allocation{}, err
		}
	}
	b, err := m.newBlock(typ, size, mapped)
	if err != nil {
		return allocation{}, err
	}
	off, _ := b.ranges.take(size, align)
	return allocation{b, off, size}, nil
}

// newBlock maps the block if it can: the window through which a card's memory is seen, or the addresses
// of the process, may be used up. Buffers that the host need not see do without (see Buffer.Upload).
func (m *memory) newBlock(typ int, size int64, mapped bool) (*block, error) {
	d := m.device
	info := vulkan.MemoryAllocateInfo{
		SType:           vulkan.StructureTypeMemoryAllocateInfo,
		AllocationSize:  vulkan.DeviceSize(size),
		MemoryTypeIndex: uint32(typ),
	}
	var handle vulkan.DeviceMemory
	result := vulkan.AllocateMemory(d.handle, &info, nil, &handle)
	info.Free()
	if result != vulkan.Success {
		return nil, d.check(result, "vkAllocateMemory", fmt.Sprintf("%d bytes, with %d in use here, of a heap of %d", size, m.bytes, d.physical.memory[typ].heapSize))
	}
	b := &block{typ: typ, handle: handle, ranges: newFreeList(size)}
	if d.physical.memory[typ].flags&hostCoherent == hostCoherent {
		var base unsafe.Pointer
		result := vulkan.MapMemory(d.handle, handle, 0, vulkan.DeviceSize(size), 0, &base)
		switch {
		case result == vulkan.Success:
			b.mapped = base
		case mapped:
			vulkan.FreeMemory(d.handle, handle, nil)
			return nil, d.check(result, "vkMapMemory", fmt.Sprintf("%d bytes for the host to write and read", size))
		}
	}
	m.blocks = append(m.blocks, b)
	m.allocations++
	m.bytes += size
	return b, nil
}

// release gives a range back, and the block to the driver when it was the last.
func (m *memory) release(a allocation) {
	a.block.ranges.give(a.off, a.size)
	if a.block.ranges.empty() {
		m.freeBlock(a.block)
		m.blocks = slices.DeleteFunc(m.blocks, func(b *block) bool { return b == a.block })
	}
}

func (m *memory) freeBlock(b *block) {
	vulkan.FreeMemory(m.device.handle, b.handle, nil) // unmaps too
	m.allocations--
	m.bytes -= b.ranges.size
}

// free frees all blocks.
func (m *memory) free() {
	for _, b := range m.blocks {
		m.freeBlock(b)
	}
	m.blocks = nil
}
