package vk_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
	"github.com/lemnos-ml/lemnos/vk/internal/interpose"
	"github.com/lemnos-ml/lemnos/vk/vktest"
)

// All tests of this package run through the interposer; it does nothing until a test injects a fault.
func init() { vk.InterposeVulkan(interpose.Wrap) }

var faults = []interpose.Fault{interpose.DeviceMemory, interpose.HostMemory, interpose.LostSubmit, interpose.LostWait}

// faultError is the error that a fault must surface as.
func faultError(f interpose.Fault) error {
	if f == interpose.LostSubmit || f == interpose.LostWait {
		return vk.ErrDeviceLost
	}
	return vk.ErrOutOfMemory
}

// TestFaultsProgram fails each allocation, creation, submission and wait of three steps of programs in turn.
func TestFaultsProgram(t *testing.T) {
	cache := t.TempDir()
	everyFault(t, 1, func() error { return programSteps(cache, false) })
}

// TestFaultsTraining does the same to three training steps: graph, backward, compile, AdamW, replay.
func TestFaultsTraining(t *testing.T) {
	cache := t.TempDir()
	everyFault(t, 5, func() error { return trainingSteps(cache) })
}

// TestFaultsRecovered runs the programs again with each single failure, but tries whatever ran out of
// memory a second time, on the same device: a failed call must leave everything as it was.
func TestFaultsRecovered(t *testing.T) {
	cache := t.TempDir()
	calls := countCalls(t, func() error { return programSteps(cache, true) })
	for _, f := range []interpose.Fault{interpose.DeviceMemory, interpose.HostMemory} {
		opening := openCalls(t, cache, f) // Open cannot be tried again on the same device
		for n := opening; n < calls[f]; n++ {
			interpose.Reset()
			interpose.Inject(f, n, false)
			if err := guard(t, func() error { return programSteps(cache, true) }); err != nil {
				t.Errorf("%v, call %d of %d, tried again: %v", f, n, calls[f], err)
			}
			checkGone(t, f, n)
		}
	}
}

// everyFault injects every fault into run, at each call it can befall alone, and at every stride-th with all
// calls after it too. A run must end with the fault's error or, where the library has another way, with
// right results.
func everyFault(t *testing.T, stride int, run func() error) {
	calls := countCalls(t, run)
	for _, f := range faults {
		recovered := 0
		for n := range calls[f] {
			for _, onward := range []bool{false, true} {
				if onward && n%stride != 0 {
					continue
				}
				interpose.Reset()
				interpose.Inject(f, n, onward)
				err := guard(t, run)
				switch {
				case interpose.Injected() == 0:
					t.Errorf("%v: no call %d, a run without faults had %d", f, n, calls[f])
				case err != nil && !errors.Is(err, faultError(f)):
					t.Errorf("%v, call %d of %d, onward %t: error %v, want %v", f, n, calls[f], onward, err, faultError(f))
				case err == nil && (onward || errors.Is(faultError(f), vk.ErrDeviceLost)):
					t.Errorf("%v, call %d of %d, onward %t: no error", f, n, calls[f], onward)
				case err == nil:
					recovered++
				}
				checkGone(t, f, n)
			}
		}
		t.Logf("%v: %d calls failed in turn, %d of them not needed", f, calls[f], recovered)
		// Memory may be had in smaller pieces, a pipeline cache done without; the rest is needed.
		if f != interpose.DeviceMemory && 10*recovered > calls[f] {
			t.Errorf("%v: %d of %d failures went unnoticed", f, recovered, calls[f])
		}
	}
}

// countCalls runs without faults and returns how many calls each fault can befall.
func countCalls(t *testing.T, run func() error) map[interpose.Fault]int {
	t.Helper()
	vktest.Open(t) // or skip: there is no device
	t.Cleanup(interpose.Reset)
	calls := map[interpose.Fault]int{}
	for range 2 { // the second finds the first one's pipeline cache
		interpose.Reset()
		if err := guard(t, run); err != nil {
			t.Fatalf("without faults: %v", err)
		}
	}
	for _, f := range faults {
		if calls[f] = interpose.Calls(f); calls[f] == 0 {
			t.Fatalf("%v: the run makes no call that can fail this way", f)
		}
	}
	checkGone(t, -1, 0)
	return calls
}

// openCalls is how many calls of Open the fault can befall.
func openCalls(t *testing.T, cache string, f interpose.Fault) int {
	t.Helper()
	interpose.Reset()
	d, err := vk.Open(&vk.Options{CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	n := interpose.Calls(f)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

// checkGone fails the test when a run left objects behind. The device of countCalls is still open.
func checkGone(t *testing.T, f interpose.Fault, n int) {
	t.Helper()
	live := interpose.Live()
	if want := idleDevice(t); live != want {
		t.Fatalf("%v, call %d: left behind: %v; an idle device has %v", f, n, live, want)
	}
}

// idleDevice is what one open device holds that has not been used.
func idleDevice(t *testing.T) interpose.Counts {
	t.Helper()
	var want interpose.Counts
	for kind, n := range map[string]int{"devices": 1, "command pools": 1, "fences": 16, "pipeline caches": 1} {
		want[slices.Index(interpose.Kinds(), kind)] = n
	}
	return want
}

// guard turns a panic of run into an error, and a run that hangs into the end of the test.
func guard(t *testing.T, run func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				stack := make([]byte, 1<<14)
				done <- fmt.Errorf("panic: %v\n%s", p, stack[:runtime.Stack(stack, false)])
			}
		}()
		done <- run()
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		stacks := make([]byte, 1<<16)
		t.Fatalf("hangs:\n%s", stacks[:runtime.Stack(stacks, true)])
		return nil
	}
}

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
	load := func(k **vk.Kernel, name string) {
		do(func() error {
			code, err := shaders.Load(name)
			if err == nil {
				*k, err = d.Kernel(name, code, map[uint32]uint32{0: 64})
			}
			return err
		})
	}
	load(&scale, "scale.f32")
	load(&copier, "copy")
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
	groups := [3]uint32{4, 1, 1}
	program(&double, func(p *vk.Program) {
		if stamps {
			p.Timestamp()
		}
		p.Dispatch(scale, groups, words(uint32(n/4), float32(2)), x.Span(0, size), y.Span(0, size))
		p.Dispatch(copier, groups, words(uint32(n/4)), y.Span(0, size), x.Span(0, size))
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

// trainingSteps trains a bigram table of 16 tokens for three steps with AdamW, clipping and loss scaling, and
// checks that the loss falls from that of a uniform guess.
func trainingSteps(cache string) (err error) {
	d, err := vk.Open(&vk.Options{CacheDir: cache})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := d.Close(); err == nil {
			err = closeErr
		}
	}()
	ctx := context.Background()
	const vocabulary, b, m = 16, 4, 8
	p := ops.NewParams(d, ops.BF16)
	table := p.Add("table", vocabulary, vocabulary)
	if err := p.Alloc(); err != nil {
		return err
	}
	defer p.Release()
	text := make([]uint16, 400)
	for i := range text {
		text[i] = uint16(3 * i % vocabulary)
	}
	tokens, err := ops.NewTensor(d, ops.U16, len(text))
	if err != nil {
		return err
	}
	defer tokens.Release()
	if err := ops.Upload(ctx, tokens, text); err != nil {
		return err
	}
	maxNorm := 1.0
	hyper := optim.DefaultHyper()
	hyper.LR = 0.1
	opt, err := optim.NewAdamW(p, &optim.Options{
		MaxNorm: &maxNorm,
		Scaler:  &optim.Scaler{Init: 1024},
		Groups:  []optim.Group{{Params: p.All(), Hyper: hyper}},
	})
	if err != nil {
		return err
	}
	defer opt.Release()
	g := ops.NewGraph(d)
	x, y, at := g.Batch(tokens, b, m, 7)
	loss := g.CrossEntropy(g.Embed(table, x), y, nil)
	g.Backward(loss, &ops.BackwardOptions{Seed: opt.LossScale()})
	update := opt.Record(g)
	g.Output(loss)
	step, err := g.Compile()
	if err != nil {
		return err
	}
	defer step.Close()
	losses := make([]float32, 3)
	for k := range losses {
		if err := ops.Upload(ctx, at, []uint32{uint32(k), 0, 0, 0}); err != nil {
			return err
		}
		if err := update.Stage(step); err != nil {
			return err
		}
		if err := step.Run(); err != nil {
			return err
		}
		if err := step.Wait(ctx); err != nil {
			return err
		}
		if losses[k], err = ops.Item(ctx, loss); err != nil {
			return err
		}
	}
	if math.Abs(float64(losses[0])-math.Log(vocabulary)) > 1e-3 || !(losses[2] < losses[1] && losses[1] < losses[0]) {
		return fmt.Errorf("losses %v do not fall from log %d", losses, vocabulary)
	}
	return nil
}

// TestLostDevice: once the device is lost every call says so, nothing waits, and Close frees all.
func TestLostDevice(t *testing.T) {
	vktest.Open(t)
	t.Cleanup(interpose.Reset)
	for _, f := range []interpose.Fault{interpose.LostSubmit, interpose.LostWait} {
		interpose.Reset()
		d, err := vk.Open(&vk.Options{CacheDir: "off"})
		if err != nil {
			t.Fatal(err)
		}
		b, host := newBuffer(t, d, 1024), newBuffer(t, d, 1024)
		k := kernel(t, d, "increment", nil)
		p, unfinished := d.NewProgram(), d.NewProgram()
		p.Dispatch(k, [3]uint32{4, 1, 1}, nil, b.Span(0, 1024))
		unfinished.Fill(b.Span(0, 4), 1)
		end(t, p)
		running := submit(t, d, p)
		interpose.Inject(f, interpose.Calls(f), false)
		ctx := t.Context()
		if _, err = d.Submit(p); err == nil {
			err = d.Wait(ctx)
		}
		if !errors.Is(err, vk.ErrDeviceLost) {
			t.Fatalf("%v: error %v", f, err)
		}
		data := make([]byte, 4)
		code, err := shaders.Load("copy")
		if err != nil {
			t.Fatal(err)
		}
		for name, call := range map[string]func() error{
			"NewBuffer":     func() error { _, err := d.NewBuffer(4); return err },
			"NewHostBuffer": func() error { _, err := d.NewHostBuffer(4); return err },
			"Kernel":        func() error { _, err := d.Kernel("copy", code, nil); return err },
			"End":           unfinished.End,
			"NewProgram":    func() error { return d.NewProgram().End() },
			"Submit":        func() error { _, err := d.Submit(p); return err },
			"Wait":          func() error { return d.Wait(ctx) },
			"WaitTicket":    func() error { return d.WaitTicket(ctx, running) },
			"Upload":        func() error { return b.Upload(ctx, 0, data) },
			"Download":      func() error { return b.Download(ctx, 0, data) },
		} {
			if err := guard(t, call); !errors.Is(err, vk.ErrDeviceLost) {
				t.Errorf("%v: %s: error %v, want %v", f, name, err, vk.ErrDeviceLost)
			}
		}
		d.Done(running) // may be either, but must return
		host.Release()
		p.Release()
		if err := guard(t, d.Close); !errors.Is(err, vk.ErrDeviceLost) {
			t.Errorf("%v: Close: error %v, want %v", f, err, vk.ErrDeviceLost)
		}
		if err := d.Close(); err != nil {
			t.Errorf("%v: second Close: %v", f, err)
		}
		checkGone(t, f, 0)
	}
}

// TestInterpose: the counters see a device's objects, and what vkGetDeviceProcAddr gives is counted too.
func TestInterpose(t *testing.T) {
	d := vktest.Open(t)
	before := interpose.Live()
	b := newBuffer(t, d, 1024)
	p := d.NewProgram()
	p.Dispatch(kernel(t, d, "increment", nil), [3]uint32{4, 1, 1}, nil, b.Span(0, 1024))
	end(t, p)
	after := interpose.Live()
	var grown []string
	for kind, name := range interpose.Kinds() {
		if after[kind] > before[kind] {
			grown = append(grown, name)
		}
	}
	want := "buffers, device memory, pipelines, pipeline layouts, descriptor set layouts, descriptor pools"
	if got := strings.Join(grown, ", "); got != want {
		t.Errorf("a buffer, a kernel and a program made %s; want %s", got, want)
	}
	if got, want := before.String(), "1 pipeline caches, 1 command pools, 16 fences, 1 devices"; got != want {
		t.Errorf("a new device has %s; want %s", got, want)
	}
	for _, name := range []string{"vkCreateBuffer", "vkQueueSubmit", "vkDestroyDevice"} {
		if byInstance, byDevice := interpose.Lookup(name); byInstance == nil || byInstance != byDevice {
			t.Errorf("%s: vkGetInstanceProcAddr gives %v, vkGetDeviceProcAddr %v", name, byInstance, byDevice)
		}
	}
	for _, name := range []string{"vkCmdDispatch", "vkNoSuchFunction"} {
		if byInstance, byDevice := interpose.Lookup(name); (byInstance == nil) != (byDevice == nil) {
			t.Errorf("%s: vkGetInstanceProcAddr gives %v, vkGetDeviceProcAddr %v", name, byInstance, byDevice)
		}
	}
}
