package vk_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/vk"
	"github.com/lemnos-ml/lemnos/vk/internal/interpose"
	"github.com/lemnos-ml/lemnos/vk/vktest"
)

// TestLimits: a device of the least limits reports these.
func TestLimits(t *testing.T) {
	l := vktest.MinimumLimits
	vktest.Limit(t, l)
	info := vktest.Open(t).Info()
	want := info.Caps
	want.SubgroupArithmetic, want.SubgroupShuffle = false, false
	want.MaxInvocations, want.MaxLocalSize, want.MaxGroups = l.Invocations, l.Local, l.Groups
	want.SharedMemory, want.PushBytes = l.SharedMemory, l.PushBytes
	want.MaxAllocation = l.Allocation - 1<<16 // some is for the padding of a buffer
	want.MaxStorageRange, want.MaxTexels = min(uint64(l.StorageRange), want.MaxAllocation), uint64(l.Texels)
	want.StorageAlign = uint64(l.Alignment)
	want.Float16, want.Storage16, want.Int64, want.Float64 = false, false, false, false
	if info.Caps != want {
		t.Errorf("capabilities\n%+v, want\n%+v", info.Caps, want)
	}
	if !strings.HasPrefix(info.API, "1.1.") {
		t.Errorf("Vulkan %s, want 1.1", info.API)
	}
}

// TestLimitsKept: calls of a program that does not keep to the limits are refused and noticed. The device is opened before
// they are lowered, so that this package does not know of them.
func TestLimitsKept(t *testing.T) {
	big := [3]uint32{64, 1, 1}
	for _, test := range []struct {
		name   string
		limits vktest.Limits
		use    func(t *testing.T, d *vk.Device) error
		want   string // of the violation
	}{
		{"allocation", vktest.Limits{Allocation: 1 << 20}, func(t *testing.T, d *vk.Device) error {
			_, err := d.NewBuffer(2 << 20)
			if !errors.Is(err, vk.ErrOutOfMemory) {
				t.Errorf("error %v, want %v", err, vk.ErrOutOfMemory)
			}
			return err
		}, ""},
		{"push constants", vktest.Limits{PushBytes: 4}, func(t *testing.T, d *vk.Device) error {
			return compile(t, d, "scale")
		}, "vkCreatePipelineLayout: 8 bytes of push constants"},
		{"storage buffers", vktest.Limits{StorageBuffers: 1}, func(t *testing.T, d *vk.Device) error {
			return compile(t, d, "scale")
		}, "vkCreateDescriptorSetLayout: 2 storage buffers"},
		{"groups", vktest.Limits{Groups: [3]uint32{32, 32, 32}}, func(t *testing.T, d *vk.Device) error {
			return dispatch(t, d, 0, big)
		}, "vkCmdDispatch: 64 x 1 x 1 workgroups"},
		{"alignment", vktest.Limits{Alignment: 1 << 16}, func(t *testing.T, d *vk.Device) error {
			return dispatch(t, d, 1<<12, big)
		}, "vkUpdateDescriptorSets: 256 bytes at offset 4096"},
		{"range", vktest.Limits{StorageRange: 128}, func(t *testing.T, d *vk.Device) error {
			return dispatch(t, d, 0, big)
		}, "vkUpdateDescriptorSets: 256 bytes at offset 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := vktest.Open(t)
			vktest.Limit(t, test.limits)
			err := test.use(t, d)
			got := interpose.Violation()
			if !strings.HasPrefix(got, test.want) || (got == "") != (test.want == "") {
				t.Errorf("violation %q, want one that starts with %q", got, test.want)
			}
			if refused := !strings.Contains(test.want, "vkCmd") && !strings.Contains(test.want, "vkUpdate"); refused != (err != nil) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func compile(t *testing.T, d *vk.Device, name string) error {
	_, err := d.Kernel(name, testdata(t, name), nil)
	return err
}

// dispatch records so many workgroups of increment with 256 bytes at the offset, and runs nothing.
func dispatch(t *testing.T, d *vk.Device, offset int64, groups [3]uint32) error {
	p := d.NewProgram()
	p.Dispatch(kernel(t, d, "increment", nil), groups, nil, newBuffer(t, d, 1<<13).Span(offset, 256))
	return p.End()
}
