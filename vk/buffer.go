package vk

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// Buffer is a piece of memory that kernels read and write.
type Buffer struct {
	device   *Device
	id       uint64 // never used twice on a device
	size     int64
	handle   vulkan.Buffer
	memory   allocation
	mapped   []byte                // the whole buffer, nil when not host-visible
	cached   bool                  // reading the mapping is fast
	live     *int64                // the device's count that size is part of
	programs map[*Program]struct{} // recorded programs that use it
	released bool
}

// Span is a byte range of a buffer.
type Span struct {
	Buffer       *Buffer
	Offset, Size int64
}

const (
	// bufferPadding is the most that a Vulkan buffer has behind the bytes asked for: descriptors cover
	// whole words and items, and more (see descriptor.bytes).
	bufferPadding = 256 + 16
	// stagingSize is the piece in which unmapped memory is uploaded and downloaded, minStaging the least
	// that is tried when there is no room for it.
	stagingSize = 16 << 20
	minStaging  = 64 << 10
	// minClear is the least that a processor clears.
	minClear = 8 << 20
)

// NewBuffer returns size bytes of zeroed device memory.
// ErrOutOfMemory when the device has no room, or size is above Caps.MaxAllocation.
func (d *Device) NewBuffer(size int64) (*Buffer, error) {
	b, err := d.newBuffer(size, false, &d.bufferBytes)
	d.peakBytes = max(d.peakBytes, d.bufferBytes)
	return b, err
}

// NewHostBuffer returns size zeroed bytes of the host's memory that kernels can reach: for rings that the
// host fills and for results it reads. Bytes is never nil.
func (d *Device) NewHostBuffer(size int64) (*Buffer, error) {
	return d.newBuffer(size, true, &d.hostBytes)
}

// newBuffer makes a buffer in the host's memory or the device's, whose size is part of live as long as it lives.
func (d *Device) newBuffer(size int64, host bool, live *int64) (*Buffer, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	if size <= 0 {
		return nil, fmt.Errorf("vk: buffer of %d bytes", size)
	}
	if limit := d.physical.info.Caps.MaxAllocation; uint64(size) > limit {
		return nil, fmt.Errorf("vk: buffer of %d bytes: %w: the device allows %d in one buffer", size, ErrOutOfMemory, limit)
	}
	d.collect()
	d.bufferIDs++
	b := &Buffer{device: d, id: d.bufferIDs, size: size, programs: map[*Program]struct{}{}}
	if err := b.create(host); err != nil {
		d.destroyBuffer(b)
		return nil, err
	}
	d.buffers[b] = struct{}{}
	b.live = live
	*live += size
	if err := b.zero(); err != nil {
		b.Release() // the device may still be at it
		return nil, err
	}
	return b, nil
}

func (b *Buffer) create(host bool) error {
	d := b.device
	if d.compileOnly {
		if host {
			b.mapped = make([]byte, b.capacity())
		}
		return nil
	}
	info := vulkan.BufferCreateInfo{
		SType: vulkan.StructureTypeBufferCreateInfo,
		Size:  vulkan.DeviceSize(b.capacity()),
		Usage: vulkan.BufferUsageFlags(vulkan.BufferUsageStorageBufferBit | vulkan.BufferUsageUniformTexelBufferBit |
			vulkan.BufferUsageTransferSrcBit | vulkan.BufferUsageTransferDstBit),
	}
	var handle vulkan.Buffer
	result := vulkan.CreateBuffer(d.handle, &info, nil, &handle)
	info.Free()
	if result != vulkan.Success {
		return d.check(result, "vkCreateBuffer", fmt.Sprintf("%d bytes", b.size))
	}
	b.handle = handle

	var needs vulkan.MemoryRequirements
	vulkan.GetBufferMemoryRequirements(d.handle, handle, &needs)
	needs.Deref()
	size, align, bits := int64(needs.Size), int64(needs.Alignment), needs.MemoryTypeBits
	needs.Free()
	typ := deviceMemoryType(d.physical.memory, bits)
	if host {
		typ = hostMemoryType(d.physical.memory, bits)
	}
	if typ < 0 {
		return fmt.Errorf("vk: buffer of %d bytes: no memory type fits (allowed: %#x)", b.size, bits)
	}
	memory, err := d.memory.allocate(typ, size, align, host)
	if err != nil {
		return err
	}
	b.memory = memory
	result = vulkan.BindBufferMemory(d.handle, handle, memory.block.handle, vulkan.DeviceSize(memory.off))
	if result != vulkan.Success {
		return d.check(result, "vkBindBufferMemory", fmt.Sprintf("%d bytes", b.size))
	}
	if base := memory.block.mapped; base != nil {
		b.mapped = unsafe.Slice((*byte)(unsafe.Add(base, memory.off)), b.capacity())
		b.cached = d.physical.memory[typ].flags&hostCached != 0
	}
	return nil
}

// capacity is the size of the Vulkan buffer.
func (b *Buffer) capacity() int64 { return roundUp(b.size, 16) + bufferPadding - 16 }

// zero clears the whole buffer: memory comes from other processes and from released buffers.
func (b *Buffer) zero() error {
	if b.device.compileOnly {
		return nil
	}
	if b.mapped != nil && b.cached {
		clearAll(b.mapped)
		return nil
	}
	return b.device.runOnce(context.Background(), func(cmd vulkan.CommandBuffer) {
		vulkan.CmdFillBuffer(cmd, b.handle, 0, vulkan.DeviceSize(b.capacity()), 0)
	})
}

// clearAll clears memory with all processors: what takes the time is the system, which gives pages as they are first written.
func clearAll(memory []byte) {
	var threads sync.WaitGroup
	for piece := range slices.Chunk(memory, max(minClear, len(memory)/runtime.GOMAXPROCS(0)+1)) {
		threads.Go(func() { clear(piece) })
	}
	threads.Wait()
}

// Size is the size asked for, in bytes.
func (b *Buffer) Size() int64 { return b.size }

// Bytes is the buffer's memory itself, nil when the host cannot see it. What the host writes is seen by
// programs submitted afterwards; what a program wrote is seen once its ticket is done. Reading the
// mapping of a NewBuffer can be slow (uncached); Download is not. It must not be used after the
// buffer's Release or the device's Close.
func (b *Buffer) Bytes() []byte {
	if b == nil || b.mapped == nil {
		return nil
	}
	return b.mapped[:b.size:b.size]
}

// Span is size bytes from offset. It is checked where it is used.
func (b *Buffer) Span(offset, size int64) Span { return Span{b, offset, size} }

// check says what is wrong with the span: no buffer, another device's, released, or out of bounds.
func (s Span) check(d *Device) error {
	b := s.Buffer
	switch {
	case b == nil:
		return fmt.Errorf("no buffer")
	case b.device != d:
		return fmt.Errorf("a buffer of another device")
	case b.released:
		return fmt.Errorf("a released buffer of %d bytes", b.size)
	case s.Offset < 0 || s.Size <= 0 || s.Offset > b.size || s.Size > b.size-s.Offset:
		return fmt.Errorf("%d bytes at offset %d of a buffer of %d", s.Size, s.Offset, b.size)
	}
	return nil
}

// Upload waits for all submitted work, then copies data to the buffer. On return data may be reused. An
// error of ctx ends the waiting, with the buffer unchanged or, when large, partly written.
func (b *Buffer) Upload(ctx context.Context, offset int64, data []byte) error {
	if err := b.transferable("upload", offset, len(data)); err != nil || len(data) == 0 {
		return err
	}
	d := b.device
	if err := d.Wait(ctx); err != nil {
		return err
	}
	if b.mapped != nil {
		copy(b.mapped[offset:], data)
		return nil
	}
	if d.compileOnly {
		return nil
	}
	staging, err := d.stagingBuffer()
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n := copy(staging.Bytes(), data)
		err := d.runOnce(ctx, func(cmd vulkan.CommandBuffer) {
			cmdCopy(cmd, staging.handle, 0, b.handle, offset, int64(n))
		})
		if err != nil {
			return err
		}
		data, offset = data[n:], offset+int64(n)
	}
	return nil
}

// Download waits for all submitted work, then fills data from the buffer.
func (b *Buffer) Download(ctx context.Context, offset int64, data []byte) error {
	if err := b.transferable("download", offset, len(data)); err != nil || len(data) == 0 {
		return err
	}
	d := b.device
	if d.compileOnly {
		return fmt.Errorf("vk: download: %w", errCompileOnly)
	}
	if err := d.Wait(ctx); err != nil {
		return err
	}
	if b.mapped != nil && b.cached {
		copy(data, b.mapped[offset:])
		return nil
	}
	staging, err := d.stagingBuffer()
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n := min(len(data), int(staging.size))
		err := d.runOnce(ctx, func(cmd vulkan.CommandBuffer) {
			cmdCopy(cmd, b.handle, offset, staging.handle, 0, int64(n))
		})
		if err != nil {
			return err
		}
		copy(data, staging.mapped[:n])
		data, offset = data[n:], offset+int64(n)
	}
	return nil
}

func (b *Buffer) transferable(verb string, offset int64, size int) error {
	if err := b.device.usable(); err != nil {
		return err
	}
	if size == 0 && offset >= 0 && offset <= b.size && !b.released {
		return nil
	}
	if err := b.Span(offset, int64(size)).check(b.device); err != nil {
		return fmt.Errorf("vk: %s: %w", verb, err)
	}
	return nil
}

// stagingBuffer is of the size that there is room for.
func (d *Device) stagingBuffer() (*Buffer, error) {
	size := min(stagingSize, int64(d.physical.info.Caps.MaxAllocation))
	for d.staging == nil {
		b, err := d.newBuffer(size, true, &d.stagingBytes)
		if size /= 4; err != nil && (size < minStaging || !errors.Is(err, ErrOutOfMemory)) {
			return nil, err
		}
		d.staging = b
	}
	return d.staging, nil
}

// Release gives the memory back once no submitted work can use it. Releasing again does nothing.
func (b *Buffer) Release() {
	if b == nil || b.released || b.device == nil {
		return
	}
	b.released = true
	for p := range b.programs {
		p.broken = true
	}
	b.device.condemn(condemned{buffer: b})
}

// destroyBuffer frees what the buffer has; create may have stopped half-way.
func (d *Device) destroyBuffer(b *Buffer) {
	if b.handle != nil {
		vulkan.DestroyBuffer(d.handle, b.handle, nil)
	}
	if b.memory.block != nil {
		d.memory.release(b.memory)
	}
	if b.live != nil {
		*b.live -= b.size
	}
	b.handle, b.memory, b.mapped, b.live, b.released = nil, allocation{}, nil, nil, true
	delete(d.buffers, b)
}
