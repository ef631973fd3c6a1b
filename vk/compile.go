package vk

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	vulkan "github.com/vulkan-go/vulkan"
)

// Compile compiles the kernels that are not compiled yet, up to GOMAXPROCS at a time, and calls progress, unless that is
// nil, after each of them. When ctx ends it returns its error, once the driver has finished those that were begun. A kernel
// that does not compile is not its error but that of the Dispatch that needs it, or of Kernel.Compile: which one a
// program meets first does not depend on which thread was faster.
func (d *Device) Compile(ctx context.Context, progress func(done, total int)) error {
	if err := d.usable(); err != nil {
		return err
	}
	var list []*Kernel
	for _, k := range d.Kernels() {
		if k.pipeline == nil && k.made > k.spared {
			list = append(list, k)
		}
	}
	// The longest first, so that none is left to run alone at the end.
	slices.SortStableFunc(list, func(a, b *Kernel) int { return cmp.Compare(len(b.code), len(a.code)) })
	results := make([]compiled, len(list))
	ended := make(chan struct{}, len(list))
	var next atomic.Int64
	var threads sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(list)) {
		threads.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return
				}
				results[i] = list[i].create()
				ended <- struct{}{}
			}
		})
	}
	defer threads.Wait() // also where progress panics
	go func() {
		threads.Wait()
		close(ended)
	}()
	done := 0
	for range ended {
		done++
		if progress != nil {
			progress(done, len(list))
		}
	}
	for i, k := range list {
		k.failed = k.check(results[i])
	}
	if d.lost != nil {
		return d.lost
	}
	return ctx.Err()
}

// Spare takes one call of Device.Kernel back: when all are, Device.Compile leaves the kernel out, and it is compiled
// where something dispatches it after all.
func (k *Kernel) Spare() { k.spared++ }

// Compile compiles the kernel unless it is compiled already. After an error it may be tried again.
func (k *Kernel) Compile() error {
	if err := k.device.usable(); err != nil {
		return err
	}
	if k.pipeline != nil {
		return nil
	}
	err := k.failed
	if k.failed = nil; err == nil {
		err = k.check(k.create())
	}
	return err
}

// compiled is how compiling ended: the last call of Vulkan and its result.
type compiled struct {
	call   string
	result vulkan.Result
}

// check is the error of a compilation.
func (k *Kernel) check(c compiled) error {
	return k.device.check(c.result, c.call, "kernel "+k.name)
}

// create makes what Vulkan has of the kernel, all or nothing. Threads may do so at the same time, each with its own
// kernel: Vulkan lets them share the device and the pipeline cache, which it locks itself, and nothing else of the device
// changes meanwhile.
func (k *Kernel) create() (c compiled) {
	d := k.device
	defer func() {
		if c.result != vulkan.Success {
			d.destroyKernel(k)
		}
	}()
	c.call = "vkCreateDescriptorSetLayout"
	if k.setLayout, c.result = d.newSetLayout(k.descriptors); c.result != vulkan.Success {
		return c
	}
	c.call = "vkCreatePipelineLayout"
	if k.layout, c.result = d.newPipelineLayout(k.setLayout, k.pushBytes); c.result != vulkan.Success {
		return c
	}
	c.call = "vkCreateComputePipelines"
	k.pipeline, c.result = d.newPipeline(k.layout, k.code, k.specIDs, k.specValues, k.subgroup)
	return c
}

func (d *Device) destroyKernel(k *Kernel) {
	if k.pipeline != nil {
		vulkan.DestroyPipeline(d.handle, k.pipeline, nil)
	}
	if k.layout != nil {
		vulkan.DestroyPipelineLayout(d.handle, k.layout, nil)
	}
	if k.setLayout != nil {
		vulkan.DestroyDescriptorSetLayout(d.handle, k.setLayout, nil)
	}
	k.pipeline, k.layout, k.setLayout = nil, nil, nil
}
