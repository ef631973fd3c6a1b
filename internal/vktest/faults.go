package vktest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/internal/interpose"
	"github.com/lemnos-ml/lemnos/vk"
)

var faults = []interpose.Fault{interpose.DeviceMemory, interpose.HostMemory, interpose.LostSubmit, interpose.LostWait, interpose.LostCompile}

// faultError is the error that a fault must surface as.
func faultError(f interpose.Fault) error {
	switch f {
	case interpose.LostSubmit, interpose.LostWait, interpose.LostCompile:
		return vk.ErrDeviceLost
	}
	return vk.ErrOutOfMemory
}

// EveryFault injects every fault into run, at each call it can befall alone, and at every stride-th with all
// calls after it too. A run must end with the fault's error or, where the library has another way, with
// right results.
func EveryFault(t testing.TB, stride int, run func() error) {
	t.Helper()
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
				err := Guard(t, run)
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
				CheckGone(t, fmt.Sprintf("%v, call %d", f, n))
			}
		}
		t.Logf("%v: %d calls failed in turn, %d of them not needed", f, calls[f], recovered)
		// Memory may be had in smaller pieces, a pipeline cache done without; the rest is needed.
		if f != interpose.DeviceMemory && 10*recovered > calls[f] {
			t.Errorf("%v: %d of %d failures went unnoticed", f, recovered, calls[f])
		}
	}
}

// EveryFaultRecovered runs with each single failure to get memory, and run tries whatever ran out of it a second
// time, on the same device, which has its pipeline cache in the folder cache: a failed call must leave everything as it
// was.
func EveryFaultRecovered(t testing.TB, cache string, run func() error) {
	t.Helper()
	calls := countCalls(t, run)
	for _, f := range []interpose.Fault{interpose.DeviceMemory, interpose.HostMemory} {
		opening := openCalls(t, cache, f) // Open cannot be tried again on the same device
		for n := opening; n < calls[f]; n++ {
			interpose.Reset()
			interpose.Inject(f, n, false)
			if err := Guard(t, run); err != nil {
				t.Errorf("%v, call %d of %d, tried again: %v", f, n, calls[f], err)
			}
			CheckGone(t, fmt.Sprintf("%v, call %d", f, n))
		}
	}
}

// EveryMapFailure injects failures to map memory on the host into run, each call alone and with all after it: without
// one mapping there must be another way, without all of them the error must say so.
func EveryMapFailure(t testing.TB, run func() error) {
	t.Helper()
	countCalls(t, run)
	calls, refused := interpose.Calls(interpose.MapFailure), 0
	for n := range calls {
		for _, onward := range []bool{false, true} {
			interpose.Reset()
			interpose.Inject(interpose.MapFailure, n, onward)
			err := Guard(t, run)
			if err != nil && (!onward || !errors.Is(err, vk.ErrOutOfMemory) || !strings.Contains(err.Error(), "to map on the host")) {
				t.Errorf("call %d of %d, onward %t: %v", n, calls, onward, err)
			}
			if err != nil {
				refused++
			}
			CheckGone(t, fmt.Sprintf("call %d", n))
		}
	}
	if refused == 0 {
		t.Errorf("none of %d failures was noticed", calls)
	}
}

// countCalls runs without faults and returns how many calls each fault can befall.
func countCalls(t testing.TB, run func() error) map[interpose.Fault]int {
	t.Helper()
	Open(t) // or skip: there is no device
	t.Cleanup(interpose.Reset)
	if value, err := strconv.Atoi(os.Getenv("MALLOC_PERTURB_")); err == nil {
		interpose.Perturb(0) // each run takes 64 MiB and more from a driver on the CPU
		t.Cleanup(func() { interpose.Perturb(byte(value)) })
	}
	calls := map[interpose.Fault]int{}
	for range 2 { // the second finds the first one's pipeline cache
		interpose.Reset()
		if err := Guard(t, run); err != nil {
			t.Fatalf("without faults: %v", err)
		}
	}
	for _, f := range faults {
		if calls[f] = interpose.Calls(f); calls[f] == 0 {
			t.Fatalf("%v: the run makes no call that can fail this way", f)
		}
	}
	CheckGone(t, "without faults")
	return calls
}

// openCalls is how many calls of Open the fault can befall.
func openCalls(t testing.TB, cache string, f interpose.Fault) int {
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

// CheckGone fails the test when a run left objects behind. The device of countCalls is still open.
func CheckGone(t testing.TB, when string) {
	t.Helper()
	var want interpose.Counts // what a device has that has not been used
	for kind, n := range map[string]int{"devices": 1, "command pools": 1, "fences": 16, "pipeline caches": 1} {
		want[slices.Index(interpose.Kinds(), kind)] = n
	}
	if live := interpose.Live(); live != want {
		t.Fatalf("%s: there are %v; an idle device has %v", when, live, want)
	}
}

// Guard turns a panic of run into an error, and a run that hangs into the end of the test.
func Guard(t testing.TB, run func() error) error {
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
	case <-time.After(5 * time.Minute):
		stacks := make([]byte, 1<<16)
		t.Fatalf("hangs:\n%s", stacks[:runtime.Stack(stacks, true)])
		return nil
	}
}
