package vk_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/internal/interpose"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/vk"
)

// scales makes n kernels; number i computes y = 2x + i.
func scales(t *testing.T, d *vk.Device, n int) []*vk.Kernel {
	t.Helper()
	list := make([]*vk.Kernel, n)
	for i := range list {
		list[i] = kernel(t, d, "scale", map[uint32]uint32{0: 64, 10: uint32(i)})
	}
	return list
}

// TestCompile: all kernels are compiled, once, several at a time but not more than GOMAXPROCS, and each is its own.
func TestCompile(t *testing.T) {
	const n = 200
	t.Cleanup(interpose.Reset)
	for _, threads := range []int{1, 4} {
		previous := runtime.GOMAXPROCS(threads)
		t.Cleanup(func() { runtime.GOMAXPROCS(previous) })
		d := vktest.Open(t)
		list := scales(t, d, n)
		before := interpose.Live()
		interpose.Reset()
		calls := 0
		progress := func(done, total int) {
			if calls++; done != calls || total != n {
				t.Errorf("progress %d of %d, want %d of %d", done, total, calls, n)
			}
		}
		for range 2 { // the second time nothing is left to do
			if err := d.Compile(t.Context(), progress); err != nil {
				t.Fatal(err)
			}
		}
		if calls != n {
			t.Errorf("%d calls of progress, want %d", calls, n)
		}
		if atOnce := interpose.CompiledAtOnce(); atOnce > threads || threads > 1 && atOnce == 1 {
			t.Errorf("%d pipelines were compiled at the same time, GOMAXPROCS is %d", atOnce, threads)
		}
		x, y := newBuffer(t, d, 256), newBuffer(t, d, 256)
		upload(t, x, 0, words(float32(3)))
		for i, k := range list {
			p := d.NewProgram()
			p.Dispatch(k, [3]uint32{1, 1, 1}, words(uint32(64), float32(2)), x.Span(0, 256), y.Span(0, 256))
			end(t, p)
			submit(t, d, p)
			if got := math.Float32frombits(binary.LittleEndian.Uint32(download(t, y, 0, 4))); got != float32(6+i) {
				t.Fatalf("kernel %d gives %g, want %d", i, got, 6+i)
			}
			p.Release()
		}
		after := interpose.Live()
		for kind, name := range interpose.Kinds() {
			if want := map[string]int{"pipelines": n, "pipeline layouts": n, "descriptor set layouts": n}[name]; want > 0 && after[kind]-before[kind] != want {
				t.Errorf("%d %s for %d kernels", after[kind]-before[kind], name, n)
			}
		}
	}
}

// TestCompileFails: whichever thread meets a failure, a program fails with that of its own first kernel, and may be tried
// again.
func TestCompileFails(t *testing.T) {
	t.Cleanup(interpose.Reset)
	d := vktest.Open(t)
	x := newBuffer(t, d, 256)
	list := scales(t, d, 20)
	program := func(ks ...*vk.Kernel) error {
		p := d.NewProgram()
		defer p.Release()
		for _, k := range ks {
			p.Dispatch(k, [3]uint32{1, 1, 1}, words(uint32(64), float32(2)), x.Span(0, 256), x.Span(0, 256))
		}
		return p.End()
	}
	named := kernel(t, d, "increment", nil)
	before := interpose.Live()
	interpose.Reset()
	interpose.Inject(interpose.HostMemory, 0, true)
	if err := d.Compile(t.Context(), nil); err != nil {
		t.Fatalf("Compile: %v", err)
	}
	if live := interpose.Live(); live != before {
		t.Errorf("kernels that failed left %v, before were %v", live, before)
	}
	interpose.Reset() // the failures stay those of Compile
	err := program(list[7], named)
	if !errors.Is(err, vk.ErrOutOfMemory) || !strings.Contains(err.Error(), "vkCreateDescriptorSetLayout (kernel scale)") {
		t.Errorf("a program of two kernels that failed: %v", err)
	}
	if err := named.Compile(); !errors.Is(err, vk.ErrOutOfMemory) || !strings.Contains(err.Error(), "kernel increment") {
		t.Errorf("the second: %v", err)
	}
	for _, k := range []*vk.Kernel{list[7], named} {
		if err := k.Compile(); err != nil {
			t.Errorf("tried again: %v", err)
		}
	}
	if err := program(list[7], list[8]); !errors.Is(err, vk.ErrOutOfMemory) {
		t.Errorf("a program of one that failed: %v", err)
	}
	if err := program(list[:9]...); !errors.Is(err, vk.ErrOutOfMemory) {
		t.Errorf("a program of others that failed: %v", err)
	}
}

// TestCompileLosesDevice: a device that is lost while kernels compile is lost for all that comes.
func TestCompileLosesDevice(t *testing.T) {
	vktest.Open(t)
	t.Cleanup(interpose.Reset)
	d, err := vk.Open(&vk.Options{CacheDir: "off"})
	if err != nil {
		t.Fatal(err)
	}
	k := scales(t, d, 10)[3]
	interpose.Reset()
	interpose.Inject(interpose.LostCompile, 5, false)
	if err := d.Compile(t.Context(), nil); !errors.Is(err, vk.ErrDeviceLost) {
		t.Errorf("Compile: %v", err)
	}
	for name, call := range map[string]func() error{
		"Compile":     func() error { return d.Compile(t.Context(), nil) },
		"of a kernel": k.Compile,
		"NewBuffer":   func() error { _, err := d.NewBuffer(4); return err },
	} {
		if err := call(); !errors.Is(err, vk.ErrDeviceLost) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := d.Close(); !errors.Is(err, vk.ErrDeviceLost) {
		t.Errorf("Close: %v", err)
	}
	vktest.CheckGone(t, "after Close")
}

// TestCompileSpares: kernels that all who made them spared are compiled where one is dispatched, not before.
func TestCompileSpares(t *testing.T) {
	d := vktest.Open(t)
	list := scales(t, d, 3)
	scales(t, d, 2) // the first two once more
	for _, k := range list {
		k.Spare()
	}
	compiled := 0
	count := func(int, int) { compiled++ }
	if err := d.Compile(t.Context(), count); err != nil || compiled != 2 {
		t.Errorf("%d compiled, want 2; %v", compiled, err)
	}
	if err := list[2].Compile(); err != nil {
		t.Error(err)
	}
	scales(t, d, 3)
	if err := d.Compile(t.Context(), count); err != nil || compiled != 2 {
		t.Errorf("%d compiled, the third by itself; %v", compiled, err)
	}
}

// countdown is a context that ends after Err was asked left times.
type countdown struct {
	context.Context
	left atomic.Int64
}

func (c *countdown) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// TestCompileCancelled: the rest is left for later.
func TestCompileCancelled(t *testing.T) {
	d := vktest.Open(t)
	list := scales(t, d, 100)
	calls := 0
	count := func(int, int) { calls++ }
	ctx := &countdown{Context: t.Context()}
	ctx.left.Store(10)
	if err := d.Compile(ctx, count); !errors.Is(err, context.Canceled) || calls != 10 {
		t.Errorf("%v after %d of %d kernels, want 10", err, calls, len(list))
	}
	if err := d.Compile(t.Context(), count); err != nil || calls != len(list) {
		t.Errorf("then %v after %d of %d", err, calls, len(list))
	}
}

// TestCompilePanics: when progress panics, no thread works for the device any more.
func TestCompilePanics(t *testing.T) {
	d := vktest.Open(t)
	scales(t, d, 100)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		d.Compile(t.Context(), func(int, int) { panic("in progress") })
	}()
	before := interpose.Live()
	time.Sleep(10 * time.Millisecond)
	if after := interpose.Live(); after != before {
		t.Errorf("there were %v, then %v", before, after)
	}
}
