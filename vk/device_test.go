package vk_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/vk"
)

func TestInfo(t *testing.T) {
	d := vktest.Open(t)
	infos, err := vk.Devices()
	if err != nil {
		t.Fatal(err)
	}
	info := d.Info()
	if !reflect.DeepEqual(infos[info.Index], info) {
		t.Errorf("opened %+v, listed %+v", info, infos[info.Index])
	}
	c := info.Caps
	power := func(n uint64) bool { return n > 0 && n&(n-1) == 0 }
	// The minimum values that Vulkan 1.1 guarantees.
	switch {
	case info.Name == "" || info.Driver == "" || !strings.HasPrefix(info.API, "1."):
		t.Errorf("name %q, driver %q, API %q", info.Name, info.Driver, info.API)
	case info.Memory < 64<<20:
		t.Errorf("%d bytes of memory", info.Memory)
	case !power(uint64(c.SubgroupSize)) || c.SubgroupSize > 128:
		t.Errorf("subgroup size %d", c.SubgroupSize)
	case c.MaxInvocations < 128 || c.MaxLocalSize[0] < 128 || c.MaxGroups[0] < 65535 || c.SharedMemory < 16384:
		t.Errorf("workgroup limits %+v", c)
	case c.MaxStorageRange < 1<<27 || !power(c.StorageAlign) || c.StorageAlign > 256 || c.PushBytes < 128:
		t.Errorf("buffer limits %+v", c)
	case c.MaxAllocation < 1<<30-1<<17 || c.MaxStorageRange > c.MaxAllocation:
		t.Errorf("largest allocation %d", c.MaxAllocation)
	case c.TimestampPeriod < 0 || c.TimestampPeriod > 1e6:
		t.Errorf("timestamp period %g ns", c.TimestampPeriod)
	}
}

func TestOpenByName(t *testing.T) {
	d := vktest.Open(t)
	name := d.Info().Name
	byName := vktest.OpenWith(t, &vk.Options{Device: strings.ToUpper(name[:len(name)/2])})
	if byName.Info().Name != name {
		t.Errorf("opened %q, want %q", byName.Info().Name, name)
	}
	if _, err := vk.Open(&vk.Options{Device: "no such device"}); !errors.Is(err, vk.ErrNoDevice) || !strings.Contains(err.Error(), name) {
		t.Errorf("error %v, want ErrNoDevice with the names there are", err)
	}
}

// TestNoDriver: without a driver, in a process of its own, Open says ErrNoDevice and what to install.
func TestNoDriver(t *testing.T) {
	const child = "LEMNOS_TEST_NO_DRIVER"
	if os.Getenv(child) != "" {
		for range 2 { // the failure is not remembered; it comes again
			_, err := vk.Open(nil)
			fmt.Printf("ErrNoDevice: %t, %v\n", errors.Is(err, vk.ErrNoDevice), err)
		}
		return
	}
	if runtime.GOOS == "windows" {
		t.Log("drivers are found through the registry, which the environment does not replace")
		return
	}
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(test, "-test.run=^TestNoDriver$")
	missing := t.TempDir() + "/none.json"
	cmd.Env = append(os.Environ(), child+"=1", "LEMNOS_VALIDATE=0", "VK_INSTANCE_LAYERS=",
		"VK_ICD_FILENAMES="+missing, "VK_DRIVER_FILES="+missing)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "ErrNoDevice: true") != 2 || !strings.Contains(string(out), "install") {
		t.Errorf("%v; want ErrNoDevice twice, with what to install; output:\n%s", err, out)
	}
}

func TestClose(t *testing.T) {
	for range 3 { // devices can be opened again and again
		d := vktest.Open(t)
		b := newBuffer(t, d, 1000)
		cleared := d.Stats().Submissions // by the device, where the host does not cache its memory
		k := kernel(t, d, "increment", nil)
		p := d.NewProgram()
		p.Dispatch(k, [3]uint32{4, 1, 1}, nil, b.Span(0, 1000))
		end(t, p)
		ticket := submit(t, d, p)
		unfinished := d.NewProgram()
		unfinished.Fill(b.Span(0, 4), 1)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if got, want := d.Stats(), (vk.DeviceStats{Submissions: cleared + 1}); got != want {
			t.Errorf("after Close %+v, want %+v", got, want)
		}
		// Everything answers with an error, and releasing is harmless.
		if _, err := d.NewBuffer(4); err == nil {
			t.Error("NewBuffer after Close succeeded")
		}
		if _, err := d.Submit(p); err == nil {
			t.Error("Submit after Close succeeded")
		}
		if _, err := d.Kernel("increment", nil, nil); err == nil {
			t.Error("Kernel after Close succeeded")
		}
		if err := d.NewProgram().End(); err == nil {
			t.Error("End of a program made after Close succeeded")
		}
		if err := unfinished.End(); err == nil {
			t.Error("End after Close succeeded")
		}
		if err := d.WaitTicket(t.Context(), ticket); err == nil {
			t.Error("WaitTicket after Close succeeded")
		}
		if err := b.Download(t.Context(), 0, make([]byte, 4)); err == nil {
			t.Error("Download after Close succeeded")
		}
		if b.Bytes() != nil {
			t.Error("a closed device's buffer is still mapped")
		}
		b.Release()
		p.Release()
		unfinished.Release()
	}
}

// TestTwoDevices: devices do not share anything but the driver.
func TestTwoDevices(t *testing.T) {
	a, b := vktest.Open(t), vktest.Open(t)
	x, y := newBuffer(t, a, 64), newBuffer(t, b, 64)
	upload(t, x, 0, bytes.Repeat([]byte{1}, 64))
	upload(t, y, 0, bytes.Repeat([]byte{2}, 64))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got := download(t, y, 0, 64); !bytes.Equal(got, bytes.Repeat([]byte{2}, 64)) {
		t.Errorf("got %v", got)
	}
}

func TestKernelErrors(t *testing.T) {
	d := vktest.Open(t)
	scale, err := os.ReadFile("testdata/scale.spv")
	if err != nil {
		t.Fatal(err)
	}
	limit := d.Info().Caps.MaxInvocations
	tests := []struct {
		code []byte
		spec map[uint32]uint32
		want string
	}{
		{scale[:100], nil, "damaged SPIR-V"},
		{nil, nil, "not SPIR-V"},
		{scale, map[uint32]uint32{0: 0}, "workgroup size [0 1 1]"},
		{scale, map[uint32]uint32{0: limit + 1}, fmt.Sprint(limit + 1)},
	}
	for _, test := range tests {
		_, err := d.Kernel("the name", test.code, test.spec)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "the name") {
			t.Errorf("error %v, want one with %q and the kernel's name", err, test.want)
		}
	}
	// The same kernel is compiled once, other constants give another.
	a, b, c := kernel(t, d, "scale", map[uint32]uint32{0: 64}), kernel(t, d, "scale", map[uint32]uint32{0: 64}), kernel(t, d, "scale", map[uint32]uint32{0: 32})
	if a != b || a == c || d.Stats().Kernels != 2 {
		t.Errorf("kernels %p, %p, %p, %d in all; want the first two the same, and 2", a, b, c, d.Stats().Kernels)
	}
	if a.LocalSize() != [3]uint32{64, 1, 1} || a.PushBytes() != 8 || a.Name() != "scale" {
		t.Errorf("workgroup %v, %d push bytes, name %q", a.LocalSize(), a.PushBytes(), a.Name())
	}
}
