package vk_test

import (
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/interpose"
	"github.com/lemnos-ml/lemnos/internal/vktest"
)

// TestReuseDevices: a device stands for those after it that are opened alike, whatever was done with it. In a process of its own, as
// devices are used again to its end.
func TestReuseDevices(t *testing.T) {
	if !inChild(t) {
		if out, passed := runChild(t, "LEMNOS_REUSE_DEVICES=1"); !passed {
			t.Error(out)
		}
		return
	}
	float16 := vktest.Open(t).Info().Caps.Float16 // which an extension brings
	for _, c := range []struct {
		basic  bool
		spared int
	}{{false, 0}, {false, 1}, {true, 1}, {true, 2}, {false, 3}} {
		if c.basic && !float16 {
			return
		}
		vktest.Limit(t, vktest.Limits{Basic: c.basic})
		if err := programSteps(t.TempDir(), false); err != nil {
			t.Fatal(err)
		}
		if got := interpose.ReuseDevices(); got != c.spared {
			t.Errorf("%+v: %d devices were not made", c, got)
		}
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
