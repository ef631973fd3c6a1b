package vk_test

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/interpose"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/vk"
)

// TestLimits: a device of the least limits reports these.
func TestLimits(t *testing.T) {
	l := vktest.MinimumLimits
	vktest.Limit(t, l)
	info := vktest.Open(t).Info()
	want := info.Caps
	want.SubgroupArithmetic, want.SubgroupShuffle, want.FullSubgroups = false, false, false
	want.MaxInvocations, want.MaxLocalSize, want.MaxGroups = l.Invocations, l.Local, l.Groups
	want.SharedMemory, want.PushBytes = l.SharedMemory, l.PushBytes
	want.MaxAllocation = l.Allocation - 1<<16 // some is for the padding of a buffer
	want.MaxStorageRange, want.MaxTexels = min(uint64(l.StorageRange), want.MaxAllocation), uint64(l.Texels)
	want.StorageAlign = uint64(l.Alignment)
	want.Float16, want.Storage16, want.Int64, want.Float64 = false, false, false, false
	if !reflect.DeepEqual(info.Caps, want) {
		t.Errorf("capabilities\n%+v, want\n%+v", info.Caps, want)
	}
	if info.Kind != vk.Integrated {
		t.Errorf("the device is %v, want %v", info.Kind, vk.Integrated)
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
		use    func(t *testing.T, d *vk.Device)
		want   string // of the violation
	}{
		{"allocation", vktest.Limits{Allocation: 1 << 20}, func(t *testing.T, d *vk.Device) {
			if _, err := d.NewBuffer(2 << 20); !errors.Is(err, vk.ErrOutOfMemory) {
				t.Errorf("error %v, want %v", err, vk.ErrOutOfMemory)
			}
		}, ""},
		{"push constants", vktest.Limits{PushBytes: 4}, func(t *testing.T, d *vk.Device) {
			compile(t, d, "scale", nil)
		}, "vkCreatePipelineLayout: 8 bytes of push constants"},
		{"storage buffers", vktest.Limits{StorageBuffers: 1}, func(t *testing.T, d *vk.Device) {
			compile(t, d, "scale", nil)
		}, "vkCreateDescriptorSetLayout: 2 storage buffers"},
		{"invocations", vktest.Limits{Invocations: 32}, func(t *testing.T, d *vk.Device) {
			compile(t, d, "increment", nil)
		}, "vkCreateComputePipelines: a workgroup of 64 x 1 x 1 with 0 bytes"},
		{"workgroup size", vktest.Limits{Local: [3]uint32{128, 1, 64}}, func(t *testing.T, d *vk.Device) {
			compile(t, d, "push", map[uint32]uint32{1: 3, 2: 5})
		}, "vkCreateComputePipelines: a workgroup of 2 x 3 x 5 with 0 bytes"},
		{"shared memory", vktest.Limits{SharedMemory: 2000}, func(t *testing.T, d *vk.Device) {
			compile(t, d, "shared", nil)
		}, "vkCreateComputePipelines: a workgroup of 1 x 1 x 1 with 2660 bytes"},
		{"subgroup operations", vktest.Limits{SubgroupOperations: 1}, func(t *testing.T, d *vk.Device) {
			compile(t, d, "subgroup", nil)
		}, "vkCreateComputePipelines: the SPIR-V capability 63"},
		{"groups", vktest.Limits{Groups: [3]uint32{32, 32, 32}}, func(t *testing.T, d *vk.Device) {
			dispatch(t, d, 0, big)
		}, "vkCmdDispatch: 64 x 1 x 1 workgroups"},
		{"alignment", vktest.Limits{Alignment: 1 << 16}, func(t *testing.T, d *vk.Device) {
			dispatch(t, d, 1<<12, big)
		}, "vkUpdateDescriptorSets: 256 bytes at offset 4096"},
		{"range", vktest.Limits{StorageRange: 128}, func(t *testing.T, d *vk.Device) {
			dispatch(t, d, 0, big)
		}, "vkUpdateDescriptorSets: 256 bytes at offset 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := vktest.Open(t)
			vktest.Limit(t, test.limits)
			test.use(t, d)
			got := interpose.Violation()
			if !strings.HasPrefix(got, test.want) || (got == "") != (test.want == "") {
				t.Errorf("violation %q, want one that starts with %q", got, test.want)
			}
		})
	}
}

// compile wants an error where the limits make one.
func compile(t *testing.T, d *vk.Device, name string, spec map[uint32]uint32) {
	t.Helper()
	if err := kernel(t, d, name, spec).Compile(); err == nil {
		t.Errorf("kernel %s: no error", name)
	}
}

// dispatch records so many workgroups of increment with 256 bytes at the offset, and runs nothing.
func dispatch(t *testing.T, d *vk.Device, offset int64, groups [3]uint32) {
	t.Helper()
	p := d.NewProgram()
	p.Dispatch(kernel(t, d, "increment", nil), groups, nil, newBuffer(t, d, 1<<13).Span(offset, 256))
	end(t, p)
}

// TestKernelLimits: a shader that needs more than the device has is refused with the limit, or the capability, it is about.
func TestKernelLimits(t *testing.T) {
	l := vktest.MinimumLimits
	vktest.Limit(t, l)
	d := vktest.Open(t)
	for _, test := range []struct {
		name string
		spec map[uint32]uint32
		want string // "": it fits
	}{
		{"shared", map[uint32]uint32{0: 128}, ""},
		{"scale", map[uint32]uint32{0: 128}, ""},
		{"scale", map[uint32]uint32{0: 129}, "workgroup size [129 1 1], the device allows [128 128 64]"},
		{"push", map[uint32]uint32{1: 16, 2: 5}, "workgroup of 160 invocations, the device allows 128"},
		{"subgroup", nil, "needs the SPIR-V capability GroupNonUniformArithmetic, which the device does not have"},
	} {
		_, err := d.Kernel(test.name, testdata(t, test.name), test.spec)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s with %v: error %v, want %q", test.name, test.spec, err, test.want)
		}
	}
	l.SharedMemory = 64*128 + 159
	vktest.Limit(t, l)
	_, err := vktest.Open(t).Kernel("shared", testdata(t, "shared"), map[uint32]uint32{0: 128})
	if want := "8352 bytes of shared memory, the device allows 8351"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// TestFullSubgroups: where the device can be asked, and only there, a workgroup of its subgroup size is one subgroup.
func TestFullSubgroups(t *testing.T) {
	run := func(d *vk.Device, size uint32) (subgroup, required int) {
		k := kernel(t, d, "subgroup", map[uint32]uint32{0: size})
		p, y := d.NewProgram(), newBuffer(t, d, 4)
		p.Dispatch(k, [3]uint32{1, 1, 1}, nil, y.Span(0, 4))
		end(t, p)
		submit(t, d, p)
		return int(binary.LittleEndian.Uint32(download(t, y, 0, 4))), interpose.SubgroupSize()
	}
	d := vktest.Open(t)
	caps := d.Info().Caps
	if !caps.SubgroupArithmetic {
		t.Skip("no subgroup arithmetic")
	}
	size := caps.SubgroupSize
	if got, required := run(d, size); caps.FullSubgroups && (got != int(size) || required != int(size)) {
		t.Errorf("%d invocations: subgroup of %d, %d required; want %d", size, got, required, size)
	}
	if _, required := run(d, 2*size); required != 0 {
		t.Errorf("%d invocations: subgroups of %d required, want none", 2*size, required)
	}
	// A device that says more than its driver uses, as those of Intel and Qualcomm.
	vktest.Limit(t, vktest.Limits{Basic: true, SubgroupSize: 4 * size})
	d = vktest.Open(t)
	if caps := d.Info().Caps; caps.FullSubgroups || caps.SubgroupSize != 4*size || !caps.SubgroupArithmetic {
		t.Errorf("a device without VK_EXT_subgroup_size_control: %+v", caps)
	}
	if got, required := run(d, 4*size); got >= int(4*size) || required != 0 {
		t.Errorf("%d invocations: subgroup of %d, %d required", 4*size, got, required)
	}
}
