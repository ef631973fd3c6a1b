package vk_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/lemnos-ml/lemnos/vk"
)

// attempt calls step, and once more if it ran out of memory and retry asks for it.
func attempt(retry bool, step func() error) error {
	err := step()
	if retry && errors.Is(err, vk.ErrOutOfMemory) {
		return step()
	}
	return err
}

// programSteps opens a device, doubles 1,000 values in each of three steps, and closes it. On the way it
// uses each kind of object: shared and large buffers, host memory, kernels, programs, timestamps, releases.
func programSteps(cache string, retry bool) (err error) {
	d, err := vk.Open(&vk.Options{CacheDir: cache})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := d.Close(); err == nil {
			err = closeErr
		}
		left := d.Stats()
		left.Submissions = 0
		if left != (vk.DeviceStats{}) {
			err = fmt.Errorf("after Close: %+v (%v)", left, err)
		}
	}()
	ctx := context.Background()
	const n, size = 1000, 4000
	do := func(step func() error) {
		if err == nil {
			err = attempt(retry, step)
		}
	}
	var x, y, large, host, spare *vk.Buffer
	buffer := func(b **vk.Buffer, size int64, create func(int64) (*vk.Buffer, error)) {
		do(func() (err error) { *b, err = create(size); return err })
	}
	buffer(&x, size, d.NewBuffer)
	buffer(&y, size, d.NewBuffer)
	buffer(&large, 33<<20, d.NewBuffer)
	buffer(&host, size, d.NewHostBuffer)
	buffer(&spare, size, d.NewBuffer)
	if err == nil {
		vk.Unmap(x) // so that the upload and the download go through staging
		vk.Unmap(large)
	}
	var scale, copier *vk.Kernel
	load := func(k **vk.Kernel, group uint32) {
		do(func() error {
			code, err := os.ReadFile("testdata/scale.spv")
			if err == nil {
				*k, err = d.Kernel("scale", code, map[uint32]uint32{0: group})
			}
			return err
		})
	}
	load(&scale, 64)
	load(&copier, 32)
	data := make([]byte, size)
	for i := range n {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(float32(i)))
	}
	do(func() error { return x.Upload(ctx, 0, data) })

	stamps := d.Info().Caps.TimestampPeriod > 0
	var double, keep, other *vk.Program
	program := func(p **vk.Program, record func(*vk.Program)) {
		do(func() error {
			*p = d.NewProgram()
			record(*p)
			err := (*p).End()
			if err != nil {
				(*p).Release()
			}
			return err
		})
	}
	program(&double, func(p *vk.Program) {
		if stamps {
			p.Timestamp()
		}
		p.Dispatch(scale, [3]uint32{16, 1, 1}, words(uint32(n), float32(2)), x.Span(0, size), y.Span(0, size))
		p.Dispatch(copier, [3]uint32{32, 1, 1}, words(uint32(n), float32(1)), y.Span(0, size), x.Span(0, size))
		if stamps {
			p.Timestamp()
		}
	})
	program(&keep, func(p *vk.Program) {
		p.Copy(host.Span(0, size), x.Span(0, size))
		p.Copy(large.Span(32<<20, size), x.Span(0, size))
	})
	program(&other, func(p *vk.Program) { p.Fill(spare.Span(0, size), 1) })
	var last vk.Ticket
	for step := range 3 {
		do(func() (err error) { last, err = d.Submit(double, keep); return err })
		if step == 0 && err == nil {
			do(func() error { _, err := d.Submit(other); return err })
			spare.Release() // while it may be in use
			other.Release()
		}
	}
	do(func() error { return d.WaitTicket(ctx, last) })
	if stamps {
		do(func() error { _, err := double.Times(ctx); return err })
	}
	got := make([]byte, size)
	do(func() error { return large.Download(ctx, 32<<20, got) })
	do(func() error {
		for i := range n {
			want := math.Float32bits(8 * float32(i))
			a, b := binary.LittleEndian.Uint32(got[4*i:]), binary.LittleEndian.Uint32(host.Bytes()[4*i:])
			if a != want || b != want {
				return fmt.Errorf("value %d is %g and %g, want %g", i, math.Float32frombits(a), math.Float32frombits(b), 8*float32(i))
			}
		}
		return nil
	})
	return err
}
