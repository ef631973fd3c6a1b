package train_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/vk"
)

var matrixCores sync.Once

// openChecked opens a device once it is known whether its matrix cores are used: to find out takes memory of the device that is
// asked first, which tests of the plan do not want on theirs.
func openChecked(t *testing.T) *vk.Device {
	t.Helper()
	matrixCores.Do(func() { ops.CheckMatrixCores(vktest.Open(t)) })
	return vktest.Open(t)
}

// The plan is made before anything but the parameters is there, and is the most
// that the run holds, to the byte.
func TestPeakMemoryIsThePlan(t *testing.T) {
	variants(t, func(name string, c *train.Config) {
		t.Run(name, func(t *testing.T) {
			dev := openChecked(t)
			own, err := ops.NewTensor(dev, ops.F32, 1000) // the caller's
			must(t, err)
			defer own.Release()
			c.TotalSteps = 8
			var plan train.MemoryPlan
			var atPlan, atSample vk.DeviceStats
			must(t, runHooked(ctx, dev, *c, train.Hooks{
				Plan:   func(p train.MemoryPlan) { plan, atPlan = p, dev.Stats() },
				Sample: func(int64) string { atSample = dev.Stats(); return "" },
			}))
			if got, want := dev.Stats().PeakBytes, plan.Total(); got != want {
				t.Errorf("at most %d bytes on the device, planned %d:\n%v", got, want, plan)
			}
			if atSample.BufferBytes != plan.Total() || atSample.HostBytes != plan.Host {
				t.Errorf("during the run %d bytes on the device and %d on the host, planned %d and %d", atSample.BufferBytes, atSample.HostBytes, plan.Total(), plan.Host)
			}
			// Tables and flags, but nothing that grows with the model or the batch.
			if small := atPlan.BufferBytes - plan.Parameters - plan.Other; small < 0 || small > 4096 {
				t.Errorf("%d bytes were allocated before the plan", small)
			}
			if plan.Parameters == 0 || plan.Gradients != plan.Parameters || plan.Optimizer < 2*plan.Gradients || plan.Tokens < 18000*2 ||
				plan.Activations == 0 || plan.Inputs == 0 || plan.Evaluation == 0 || plan.Other != 4000 || plan.Host == 0 {
				t.Errorf("a part is missing:\n%v", plan)
			}
		})
	})
}

// A run on a device that gives less at once than the activations need, maps hardly
// any of it, and is so slow that steps are cut up, ends with the same bits.
func TestRunOnAPoorDevice(t *testing.T) {
	run := func(dev *vk.Device) (map[string]string, train.MemoryPlan) {
		c := smallRun(t, t.TempDir())
		c.Model, c.MixedPrecision = "transformer", false
		c.Layers, c.Heads, c.Width, c.FFN, c.BatchSize, c.ContextLen = 2, 2, 64, 512, 16, 128
		c.TotalSteps, c.WarmupIters, c.CosineIters, c.EvalEvery = 3, 1, 3, 3
		var plan train.MemoryPlan
		must(t, runHooked(ctx, dev, c, train.Hooks{Plan: func(p train.MemoryPlan) { plan = p }}))
		if got := dev.Stats().PeakBytes; got != plan.Total() {
			t.Errorf("at most %d bytes on the device, planned:\n%v", got, plan)
		}
		return state(t, c), plan
	}
	vktest.Limit(t, vktest.Limits{})
	want, _ := run(vktest.Open(t))
	vktest.Limit(t, vktest.Limits{Allocation: 16 << 20, Mapping: 1 << 20})
	vktest.Slow(t, 10_000)
	dev := vktest.Open(t)
	got, plan := run(dev)
	sameState(t, got, want)
	if limit := int64(dev.Info().Caps.MaxAllocation); plan.Activations < 2*limit {
		t.Errorf("%d bytes of activations, want several times %d", plan.Activations, limit)
	}
	if n := dev.Stats().Submissions; n < 3*50 {
		t.Errorf("%d submissions for 3 steps", n)
	}
}

// A tensor larger than the device gives at once is refused, with what would help.
func TestTooLargeIsRefused(t *testing.T) {
	vktest.Limit(t, vktest.Limits{Allocation: 16 << 20})
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.Model, c.MixedPrecision, c.Layers, c.Heads, c.Width = "transformer", false, 1, 2, 16
	c.FFN, c.BatchSize, c.ContextLen = 2048, 16, 256
	err := runHooked(ctx, dev, c, train.Hooks{})
	if !errors.Is(err, vk.ErrOutOfMemory) {
		t.Fatal(err)
	}
	for _, want := range []string{"f32[16 256 2048] takes 33554432 bytes", "the device allows 16711680 in one", "batch_size"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}
