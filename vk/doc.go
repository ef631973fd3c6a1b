// Package vk opens one Vulkan device for computing: memory, kernels, recorded programs, submissions.
// Vulkan's words stop here; it is the only package that imports the binding.
//
// # A program's life
//
//	dev, err := vk.Open(nil)                             // the best device; $LEMNOS_DEVICE chooses another
//	x, err := dev.NewBuffer(4 * n)                       // zeroed device memory, n float32
//	k, err := dev.Kernel("copy", spirv, map[uint32]uint32{0: 256})
//	p := dev.NewProgram()
//	p.Dispatch(k, [3]uint32{groups, 1, 1}, push, x.Span(0, x.Size()), y.Span(0, y.Size()))
//	err = p.End()                                        // the first error of the recording surfaces here
//	ticket, err := dev.Submit(p)                         // as often as wanted: nothing is recorded again
//	err = dev.WaitTicket(ctx, ticket)
//	err = y.Download(ctx, 0, result)
//	dev.Close()                                          // waits, then frees everything
//
// A program runs after all that was submitted before it and sees what that wrote. Within a program the
// barriers follow from the byte ranges that the commands read and write, as the shader declares them
// (readonly, writeonly); commands that do not touch the same bytes may overlap in time.
//
// A program that takes long is submitted in parts of half a second at most, for systems give a device up
// that does not answer. What commands take is measured in a program's first runs: see Program.Settle.
//
// # Ownership
//
// The Device owns all it made, and Close frees all of it; Release on a Buffer or Program only frees
// it earlier. Both may be called while the device still works with the object: it is destroyed when the
// submissions made up to then are done. A program whose buffer was released can no longer be
// submitted. Kernels live as long as the device. Nothing is freed by a finalizer.
//
// # Threads
//
// A Device and everything made from it are for one goroutine at a time; the threads on which
// Device.Compile lets the driver work have ended when it returns. Different devices are
// independent; Open and Devices may be called from anywhere.
//
// # Units
//
// Sizes and offsets are bytes (int64), times are nanoseconds (float64), groups are workgroups.
//
// # Errors
//
// errors.Is knows three: [ErrNoDevice], [ErrDeviceLost] and [ErrOutOfMemory]. After ErrDeviceLost every
// call on the device returns it, except Close and Release, which free as always. All others are
// mistakes in the call; they name the kernel or buffer and the numbers that do not fit.
//
// # Drivers
//
// lavapipe (seen with Mesa 22.3) gives an invocation 65,535 passes through all loops of its shader
// together, nested and consecutive ones alike, and then ends every loop, without any error. Kernels spread
// long loops over more invocations, or unroll them. It loads words of a storage buffer one by one for each
// invocation, but texels with vector instructions: what a kernel reads much of is a texel buffer there.
//
// # Building
//
// cgo with any C compiler; no Vulkan headers or libraries are needed to build, and at run time only the
// Vulkan loader (libvulkan.so.1, vulkan-1.dll, libvulkan.1.dylib or MoltenVK) and a driver. The
// package is for 64-bit systems.
package vk
