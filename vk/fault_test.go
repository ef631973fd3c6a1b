package vk_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
	"github.com/lemnos-ml/lemnos/vk/internal/interpose"
	"github.com/lemnos-ml/lemnos/vk/vktest"
)

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
			checkGone(t, fmt.Sprintf("%v, call %d", f, n))
		}
	}
}

// everyFault injects every fault into run, at each call it can befall alone, and at every stride-th with all
// calls after it too. A run must end with the fault's error or, where the library has another way, with
// right results.
func everyFault(t *testing.T, stride int, run func() error) {
	calls := countCalls(t, run)
	every := 1
	if testing.Short() {
		every = 4
	}
	for _, f := range faults {
		recovered := 0
		for n := 0; n < calls[f]; n += every {
			for _, onward := range []bool{false, true} {
				if onward && n/every%stride != 0 {
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
				checkGone(t, fmt.Sprintf("%v, call %d", f, n))
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
	if value, err := strconv.Atoi(os.Getenv("MALLOC_PERTURB_")); err == nil {
		interpose.Perturb(0) // each run takes 64 MiB and more from a driver on the CPU
		t.Cleanup(func() { interpose.Perturb(byte(value)) })
	}
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
	checkGone(t, "without faults")
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
func checkGone(t *testing.T, when string) {
	t.Helper()
	var want interpose.Counts // what a device has that has not been used
	for kind, n := range map[string]int{"devices": 1, "command pools": 1, "fences": 16, "pipeline caches": 1} {
		want[slices.Index(interpose.Kinds(), kind)] = n
	}
	if live := interpose.Live(); live != want {
		t.Fatalf("%s: there are %v; an idle device has %v", when, live, want)
	}
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
		checkGone(t, f.String())
	}
}
