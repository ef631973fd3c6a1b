package vk

import (
	"context"
	"fmt"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// Options choose the device and where compiled kernels are kept. The zero value is usable.
type Options struct {
	// Device is an index into Devices, part of a device's name (in any case), or "auto": the best by
	// kind (discrete, integrated, virtual, CPU), then by memory. Empty: $LEMNOS_DEVICE, or auto.
	Device string
	// CacheDir is the folder of the pipeline cache. Empty: $LEMNOS_CACHE, or lemnos in
	// os.UserCacheDir. "off": no cache on disk.
	CacheDir string
	// CompileOnly opens the device to see what its compiler makes of kernels: see Kernel.Executables. Buffers have
	// no memory, uploads are dropped, programs are checked but not recorded; what would run or read is an error.
	// So a driver without its hardware will do. Nothing comes from the cache.
	CompileOnly bool
}

// Device is an open device with one queue. It is for one goroutine at a time.
type Device struct {
	physical    *physical
	handle      vulkan.Device
	queue       vulkan.Queue
	commands    vulkan.CommandPool
	compileOnly bool // no queue, commands, fences, memory and cache
	closed      bool
	lost        error // the first error that wraps ErrDeviceLost

	memory    memory
	buffers   map[*Buffer]struct{}
	programs  map[*Program]struct{}
	kernels   map[string]*Kernel
	bufferIDs uint64

	cache     vulkan.PipelineCache
	cacheFile string // empty: not kept
	cacheRead uint   // bytes of the driver's data that the file had

	staging *Buffer
	once    vulkan.CommandBuffer // for the device's own copies and fills

	fences    [inFlight]fence
	batch     []vulkan.CommandBuffer // C memory for the command buffers of one submission
	submitted Ticket                 // the last ticket given out
	completed Ticket                 // all up to here are done
	condemned []condemned

	pace        float64 // factor of the assumed times: 1 until a program was measured, see Program.adjust
	submissions int

	bufferBytes, hostBytes, stagingBytes, peakBytes int64 // see DeviceStats
}

// DeviceStats counts what a device has done and holds.
type DeviceStats struct {
	Submissions  int   // vkQueueSubmit calls since Open
	Allocations  int   // live VkDeviceMemory objects
	Buffers      int   // live buffers, the staging buffer and those waiting for their destruction included
	Kernels      int   // kernels made
	MemoryBytes  int64 // bytes in the live allocations
	BufferBytes  int64 // sizes of the live buffers of NewBuffer: allocations are larger, for buffers to come share them
	HostBytes    int64 // sizes of the live buffers of NewHostBuffer
	StagingBytes int64 // of the host's memory, for uploads and downloads where the host does not see or cache the device's: 0 until the first
	PeakBytes    int64 // the most that BufferBytes has been
}

// Open opens a device; nil options are the defaults. ErrNoDevice when the system has none or none
// matches Options.Device.
func Open(o *Options) (*Device, error) {
	if o == nil {
		o = &Options{}
	}
	list, err := enumerate()
	if err != nil {
		return nil, err
	}
	infos := make([]Info, len(list))
	for i, p := range list {
		infos[i] = p.info
	}
	i, err := choose(infos, wanted(o))
	if err != nil {
		return nil, err
	}
	d := &Device{
		physical:    list[i],
		compileOnly: o.CompileOnly,
		pace:        1,
		buffers:     map[*Buffer]struct{}{},
		programs:    map[*Program]struct{}{},
		kernels:     map[string]*Kernel{},
	}
	d.memory.device = d
	if err := d.create(o); err != nil {
		d.free()
		return nil, fmt.Errorf("%w (opening %q)", err, d.physical.info.Name)
	}
	return d, nil
}

// create makes the device and what it always has; on an error free destroys what there is.
func (d *Device) create(o *Options) error {
	p := d.physical
	if !o.CompileOnly {
		p.facts.statistics = 0 // a driver that collects them may compile more slowly
	}
	family := uint32(p.facts.queue_family)
	handle, result := createDevice(p.handle, &p.facts)
	if result != vulkan.Success {
		return d.check(result, "vkCreateDevice", "")
	}
	d.handle = handle
	if o.CompileOnly {
		return nil
	}
	var queue vulkan.Queue
	vulkan.GetDeviceQueue(handle, family, 0, &queue)
	d.queue = queue

	pool := vulkan.CommandPoolCreateInfo{
		SType:            vulkan.StructureTypeCommandPoolCreateInfo,
		Flags:            vulkan.CommandPoolCreateFlags(vulkan.CommandPoolCreateResetCommandBufferBit),
		QueueFamilyIndex: family,
	}
	var commands vulkan.CommandPool
	result = vulkan.CreateCommandPool(handle, &pool, nil, &commands)
	pool.Free()
	if result != vulkan.Success {
		return d.check(result, "vkCreateCommandPool", "")
	}
	d.commands = commands
	var err error
	if d.once, err = d.newCommandBuffer(); err != nil {
		return err
	}
	if err := d.createFences(); err != nil {
		return err
	}
	d.growBatch(1)
	return d.openCache(o)
}

func (d *Device) newCommandBuffer() (vulkan.CommandBuffer, error) {
	info := vulkan.CommandBufferAllocateInfo{
		SType:              vulkan.StructureTypeCommandBufferAllocateInfo,
		CommandPool:        d.commands,
		Level:              vulkan.CommandBufferLevelPrimary,
		CommandBufferCount: 1,
	}
	cmds := make([]vulkan.CommandBuffer, 1)
	result := vulkan.AllocateCommandBuffers(d.handle, &info, cmds)
	info.Free()
	if result != vulkan.Success {
		return nil, d.check(result, "vkAllocateCommandBuffers", "")
	}
	return cmds[0], nil
}

// Info describes the device.
func (d *Device) Info() Info { return d.physical.info }

// CompileOnly says whether the device was opened so: nothing runs on it.
func (d *Device) CompileOnly() bool { return d.compileOnly }

// Stats counts the device's objects and submissions; all objects are zero after Close.
func (d *Device) Stats() DeviceStats {
	return DeviceStats{
		Submissions:  d.submissions,
		Allocations:  d.memory.allocations,
		Buffers:      len(d.buffers),
		Kernels:      len(d.kernels),
		MemoryBytes:  d.memory.bytes,
		BufferBytes:  d.bufferBytes,
		HostBytes:    d.hostBytes,
		StagingBytes: d.stagingBytes,
		PeakBytes:    d.peakBytes,
	}
}

// Close waits for the device, keeps the compiled kernels for the next time, and frees everything the
// device owns. Its error is ErrDeviceLost when submitted work was lost; everything is freed even so.
// Closing again does nothing.
func (d *Device) Close() error {
	if d.closed {
		return nil
	}
	if d.lost == nil {
		// The error, if any, is kept in d.lost.
		if d.Wait(context.Background()) == nil {
			d.saveCache()
		}
	}
	d.free()
	d.closed = true
	return d.lost
}

// free destroys all there is, in the order that Vulkan wants: users before what they use.
func (d *Device) free() {
	if d.handle == nil {
		return
	}
	if !d.compileOnly {
		vulkan.DeviceWaitIdle(d.handle) // also when the device is lost: the specification lets it return at once
	}
	for p := range d.programs {
		d.destroyProgram(p)
	}
	for b := range d.buffers {
		d.destroyBuffer(b)
	}
	d.condemned, d.staging = nil, nil
	for _, k := range d.kernels {
		d.destroyKernel(k)
	}
	clear(d.kernels)
	d.peakBytes = 0
	d.memory.free()
	for i := range d.fences {
		if f := &d.fences[i]; f.handle != nil {
			vulkan.DestroyFence(d.handle, f.handle, nil)
			f.handle = nil
		}
	}
	if d.cache != nil {
		vulkan.DestroyPipelineCache(d.handle, d.cache, nil)
	}
	if d.commands != nil {
		vulkan.DestroyCommandPool(d.handle, d.commands, nil)
	}
	if d.batch != nil {
		freeC(unsafe.Pointer(&d.batch[0]))
	}
	vulkan.DestroyDevice(d.handle, nil)
	d.cache, d.commands, d.once, d.batch, d.handle, d.queue = nil, nil, nil, nil, nil, nil
}
