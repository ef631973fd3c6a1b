// Package vktest is for the tests of packages that use a device.
//
// Environment: VK_REQUIRE=1 makes a missing device a failure instead of a skip. LEMNOS_VALIDATE=1 runs the tests
// under the Khronos validation layer with synchronization validation; any message fails the package,
// and so does a layer that is not there. LEMNOS_LIMITS=minimum lowers the limits of all devices to the least that
// Vulkan 1.1 promises, see MinimumLimits; any call that asks for more fails the package. "card" makes them look like cards whose
// memory the host sees and does not cache, "unmapped" like cards whose memory it does not see. LEMNOS_REUSE_DEVICES=1 lets tests
// have the Vulkan device of those before them, which saves most of the time where making one takes long.
package vktest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/hook"
	"github.com/lemnos-ml/lemnos/internal/interpose"
	"github.com/lemnos-ml/lemnos/internal/vktest/validation"
	"github.com/lemnos-ml/lemnos/vk"
)

// Main is the body of a TestMain: it runs the tests, if they pass what is to be checked after the last of them, and exits.
//
//	func TestMain(m *testing.M) { vktest.Main(m) }
func Main(m *testing.M, after ...func() error) {
	hook.ProcAddr = interpose.Wrap // does nothing until a test asks it to
	if err := limitAll(os.Getenv("LEMNOS_LIMITS")); err != nil {
		os.Exit(fail(err))
	}
	if os.Getenv("LEMNOS_REUSE_DEVICES") == "1" {
		interpose.ReuseDevices()
	}
	after = append(after, checkLimits)
	os.Exit(run(func() int {
		code := m.Run()
		for _, check := range after {
			if code != 0 {
				break
			}
			if err := check(); err != nil {
				code = fail(err)
			}
		}
		return code
	}))
}

func run(tests func() int) int {
	// Compiled kernels are kept for the process, not among the user's.
	if os.Getenv("LEMNOS_CACHE") == "" {
		dir, err := os.MkdirTemp("", "lemnos-cache")
		if err != nil {
			return fail(err)
		}
		defer os.RemoveAll(dir)
		os.Setenv("LEMNOS_CACHE", dir)
	}
	if !validation.Wanted() {
		return tests()
	}
	if err := validation.Start(); err != nil {
		return fail(err)
	}
	// The layer crashes now and then when one thread makes or destroys a device while another uses another device, which
	// Vulkan allows: https://github.com/KhronosGroup/Vulkan-ValidationLayers/issues/4391.
	flag.Parse()
	if err := flag.Set("test.parallel", "1"); err != nil {
		return fail(err)
	}
	code := tests()
	_, err := vk.Devices() // makes the instance, where no test did
	active := validation.Active()
	stopErr := validation.Stop()
	switch {
	case errors.Is(err, vk.ErrNoDevice) && !required():
		return code
	case err != nil:
		return fail(err)
	case !active:
		return fail(errors.New("LEMNOS_VALIDATE=1, but the Khronos validation layer is not installed"))
	case stopErr != nil:
		return fail(stopErr)
	}
	return code
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "vktest:", err)
	return 1
}

func required() bool { return os.Getenv("VK_REQUIRE") == "1" }

// Open opens the device of the environment ($LEMNOS_DEVICE). Without a device the test is skipped, or
// fails when VK_REQUIRE=1. At the test's end the device is closed, and the test fails unless
// everything it had is gone.
func Open(t testing.TB) *vk.Device {
	t.Helper()
	return OpenWith(t, nil)
}

// OpenWith is Open with options.
func OpenWith(t testing.TB, o *vk.Options) *vk.Device {
	t.Helper()
	d, err := vk.Open(o)
	if errors.Is(err, vk.ErrNoDevice) && !required() {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		got := d.Stats()
		got.Submissions = 0
		if want := (vk.DeviceStats{}); got != want {
			t.Errorf("after Close: %+v, want all zero", got)
		}
	})
	return d
}

// AllocsPerRun is testing.AllocsPerRun, repeated a few times unless it is 0, and the least of it: that
// function also counts what the runtime allocates meanwhile, such as a thread while a call into the
// driver blocks. What f allocates is there every time.
func AllocsPerRun(runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	for try := 1; try < 5 && least > 0; try++ {
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}
