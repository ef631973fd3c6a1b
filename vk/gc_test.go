package vk_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/internal/interpose"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/internal/vktest/validation"
	"github.com/lemnos-ml/lemnos/vk"
)

// TestGarbageCollector opens devices, compiles kernels, records, submits and copies for 20 seconds (3 with
// -short) while two goroutines do nothing but collect garbage and a third makes it. It runs in a
// process where the C library overwrites what is freed (MALLOC_PERTURB_), so that memory that Vulkan
// still reads after the collector let it go cannot pass for good.
func TestGarbageCollector(t *testing.T) {
	vktest.Open(t) // or skip: there is no device
	if !inChild(t) {
		out, passed := runChild(t, "MALLOC_PERTURB_=165")
		if !passed {
			t.Fatalf("%s", out)
		}
		t.Log(out)
		return
	}
	code, err := os.ReadFile("testdata/scale.spv")
	if err != nil {
		t.Fatal(err)
	}
	duration := 20 * time.Second
	if testing.Short() {
		duration = 3 * time.Second
	}
	// A busy machine, or a driver that takes seconds to open a device, has a minute more for what means something.
	var kernels, runs atomic.Int64
	enough := func() bool { return kernels.Load() >= 50 && runs.Load() >= 200 }
	start := time.Now()
	running := func() bool {
		took := time.Since(start)
		return took < duration || !enough() && took < duration+time.Minute
	}

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	idle := interpose.Live()
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			for running() {
				runtime.GC()
			}
		})
	}
	var garbage atomic.Pointer[[]byte]
	wait.Go(func() {
		for running() {
			b := make([]byte, 1<<20)
			garbage.Store(&b)
			time.Sleep(200 * time.Microsecond)
		}
	})
	workers := 2
	if validation.Wanted() {
		workers = 1 // see vktest.Main
	}
	for worker := range workers {
		wait.Go(func() {
			for running() {
				if err := collectedDevice(code, running, &kernels, &runs); err != nil {
					t.Errorf("worker %d: %v", worker, err)
					return
				}
			}
		})
	}
	wait.Wait()
	runtime.ReadMemStats(&after)
	collections := after.NumGC - before.NumGC
	t.Logf("%d collections, %d kernels compiled, %d submissions in %v", collections, kernels.Load(), runs.Load(), time.Since(start))
	if collections < 50 || !enough() {
		t.Error("too little happened to mean anything")
	}
	if live := interpose.Live(); live != idle {
		t.Errorf("there are %v, before were %v", live, idle)
	}
}

// collectedDevice works on one device for up to 100 rounds. In round i a new kernel computes y = 2x + i, a
// program is recorded that uses it together with fills and copies, and is run three times.
func collectedDevice(code []byte, running func() bool, kernels, runs *atomic.Int64) (err error) {
	d, err := vk.Open(nil)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := d.Close(); err == nil {
			err = closeErr
		}
	}()
	ctx := context.Background()
	const n, size, half = 512, 4 * 512, 2 * 512
	var bufs [3]*vk.Buffer
	for i, create := range []func(int64) (*vk.Buffer, error){d.NewBuffer, d.NewBuffer, d.NewHostBuffer} {
		if bufs[i], err = create(size); err != nil {
			return err
		}
	}
	x, y, host := bufs[0], bufs[1], bufs[2]
	data := make([]byte, size)
	for i := 0; i < 100 && running(); i++ {
		for j := range n {
			binary.LittleEndian.PutUint32(data[4*j:], math.Float32bits(float32(i+j)))
		}
		if err := x.Upload(ctx, 0, data); err != nil {
			return err
		}
		k, err := d.Kernel("scale", code, map[uint32]uint32{0: 64, 10: uint32(i)})
		if err != nil {
			return err
		}
		for other := range uint32(3) { // beside it, on other threads
			if _, err := d.Kernel("scale", code, map[uint32]uint32{0: 64, 10: uint32(i), 11: other}); err != nil {
				return err
			}
		}
		if err := d.Compile(ctx, func(int, int) { kernels.Add(1) }); err != nil {
			return err
		}
		p := d.NewProgram()
		p.Fill(y.Span(0, size), 0xffffffff)
		p.Dispatch(k, [3]uint32{n / 64, 1, 1}, words(uint32(n), float32(2)), x.Span(0, size), y.Span(0, size))
		p.Copy(host.Span(0, half), y.Span(0, half))
		p.Copy(host.Span(half, half), y.Span(half, half))
		p.Fill(y.Span(0, half), 0)
		if err := p.End(); err != nil {
			return err
		}
		if got, want := p.Stats().Barriers, 3; got != want {
			return fmt.Errorf("%d barriers, want %d", got, want)
		}
		var last vk.Ticket
		for _, ps := range [][]*vk.Program{{p}, {p, p}, {p}} {
			if last, err = d.Submit(ps...); err != nil {
				return err
			}
			runs.Add(1)
		}
		p.Release()
		if err := d.WaitTicket(ctx, last); err != nil {
			return err
		}
		got := host.Bytes()
		for j := range n {
			if v, want := math.Float32frombits(binary.LittleEndian.Uint32(got[4*j:])), float32(2*(i+j)+i); v != want {
				return fmt.Errorf("round %d: value %d is %g, want %g", i, j, v, want)
			}
		}
		clear(got)
		if err := y.Download(ctx, 0, data); err != nil {
			return err
		}
		for j := range n {
			v, want := binary.LittleEndian.Uint32(data[4*j:]), uint32(0)
			if 4*j >= half {
				want = math.Float32bits(float32(2*(i+j) + i))
			}
			if v != want {
				return fmt.Errorf("round %d: word %d of y is %#x, want %#x", i, j, v, want)
			}
		}
	}
	return nil
}
