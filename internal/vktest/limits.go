package vktest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/interpose"
)

// Limits are what devices report at most, and what calls are held to; 0 is the device's own.
type Limits = interpose.Limits

// MinimumLimits are the least that Vulkan 1.1 promises, 8 storage buffers, and 16 MiB per allocation.
var MinimumLimits = interpose.Minimum

var always Limits // what LEMNOS_LIMITS asks for

func limitAll(name string) error {
	switch name {
	case "":
	case "minimum":
		always = MinimumLimits
	case "card", "unmapped":
		always = Limits{Card: true, Unmapped: name == "unmapped"}
	default:
		return fmt.Errorf(`LEMNOS_LIMITS is %q, want "minimum", "card", "unmapped" or nothing`, name)
	}
	interpose.Limit(always)
	return nil
}

// Limit lowers the limits of the devices that the test opens after it, until the test's end: no other test may run
// beside it. A call that asks for more than they allow is refused and fails the test, but for an allocation, which is
// out of memory.
func Limit(t testing.TB, l Limits) {
	t.Helper()
	interpose.Limit(l)
	t.Cleanup(func() {
		if err := checkLimits(); err != nil {
			t.Error(err)
		}
		interpose.Limit(always)
	})
}

// Slow makes all devices say, by their timestamps, that they took factor times as long as they did, 0: no
// time at all, until the test's end.
func Slow(t testing.TB, factor uint64) {
	interpose.Slow(factor)
	t.Cleanup(func() { interpose.Slow(1) })
}

// PreferNumbers makes the compilers of all devices that the test opens after it take kernels as GPUs may, until the test's
// end: where max, min or a comparison has a NaN to choose from, the number is chosen.
func PreferNumbers(t testing.TB) {
	interpose.PreferNumbers(true)
	t.Cleanup(func() { interpose.PreferNumbers(false) })
}

// Violation returns the first call since the last Violation that asked for more than Limit allows, or "": the test expects it.
func Violation() string { return interpose.Violation() }

// Pipelines returns how many there are, of all devices.
func Pipelines() int { return interpose.Live()[slices.Index(interpose.Kinds(), "pipelines")] }

func checkLimits() error {
	if v := interpose.Violation(); v != "" {
		return fmt.Errorf("more than the device's lowered limits allow: %s", v)
	}
	return nil
}
