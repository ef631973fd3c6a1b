package doctorcmd

import (
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// fakeMachine has the files that are named, with what they hold, and folders for names that end in a slash.
func fakeMachine(env map[string]string, files map[string]string) *machine {
	m := fstest.MapFS{}
	for name, text := range files {
		m[strings.TrimPrefix(name, "/")] = &fstest.MapFile{Data: []byte(text)}
	}
	return &machine{files: m, env: func(key string) string { return env[key] }, open: func(path string) error {
		if files[path] == "forbidden" {
			return &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
		}
		return nil
	}}
}

func card(vendor string) map[string]string {
	return map[string]string{"/sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n", "/sys/bus/pci/devices/0000:01:00.0/vendor": vendor + "\n"}
}

// with adds files to others.
func with(files map[string]string, more ...string) map[string]string {
	for i := 0; i < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}
	return files
}

// A GPU that Vulkan does not find is told of with what its kind of system wants.
func TestMissingGPUs(t *testing.T) {
	env := func(list ...string) map[string]string { return with(map[string]string{}, list...) }
	llvmpipe := []device{{vk.Info{Name: "llvmpipe", VendorID: 0x10005}, "cpu"}}
	for name, c := range map[string]struct {
		env, files map[string]string
		devices    []device
		status     string
		want       string
	}{
		"found":                  {nil, card("0x10de"), []device{{vk.Info{VendorID: nvidia}, "discrete"}}, ok, "NVIDIA, found"},
		"none":                   {nil, nil, llvmpipe, ok, "tells of none"},
		"no bus":                 {nil, nil, []device{{vk.Info{VendorID: 0x13b5}, "integrated"}}, ok, "found by Vulkan"},
		"a display of a server":  {nil, card("0x1a03"), llvmpipe, ok, "tells of none"},
		"AMD without driver":     {nil, with(card("0x1002"), "/dev/dri/renderD128", "", "/etc/os-release", "ID=fedora\n"), llvmpipe, warning, "dnf install"},
		"no permission":          {nil, with(card("0x8086"), "/dev/dri/renderD128", "forbidden"), nil, warning, "usermod -aG render"},
		"no permission, podman":  {env("container", "podman"), with(card("0x8086"), "/dev/dri/renderD128", "forbidden"), nil, warning, "--group-add"},
		"container without dri":  {nil, with(card("0x1002"), "/.dockerenv", ""), llvmpipe, warning, "--device /dev/dri"},
		"no kernel driver":       {nil, card("0x1002"), llvmpipe, warning, "lspci -k"},
		"NVIDIA without toolkit": {nil, with(card("0x10de"), "/.dockerenv", ""), llvmpipe, warning, "--gpus all"},
		"NVIDIA for CUDA alone": {env("NVIDIA_DRIVER_CAPABILITIES", "compute,utility"), with(card("0x10de"), "/.dockerenv", "", "/dev/nvidiactl", "", "/proc/driver/nvidia/version", "x"),
			llvmpipe, warning, `"compute,utility", without graphics`},
		"NVIDIA, bus hidden":       {env("NVIDIA_DRIVER_CAPABILITIES", "all"), map[string]string{"/.dockerenv": "", "/dev/nvidiactl": "", "/proc/driver/nvidia/version": "x"}, nil, warning, "nvidia_icd.json"},
		"NVIDIA without module":    {nil, card("0x10de"), llvmpipe, warning, "kernel module is not loaded"},
		"NVIDIA without Vulkan":    {nil, with(card("0x10de"), "/dev/nvidiactl", "", "/proc/driver/nvidia/version", "x"), llvmpipe, warning, "without its part for Vulkan"},
		"NVIDIA, not this user's":  {nil, with(card("0x10de"), "/dev/nvidiactl", "forbidden", "/proc/driver/nvidia/version", "x"), llvmpipe, warning, "usermod -aG video"},
		"NVIDIA with nouveau":      {nil, with(card("0x10de"), "/dev/dri/renderD128", ""), llvmpipe, warning, "NVK"},
		"WSL":                      {nil, map[string]string{"/proc/sys/kernel/osrelease": "5.15.90.1-microsoft-standard-WSL2", "/dev/dxg": ""}, llvmpipe, warning, "program for Windows"},
		"the processor is no GPU":  {nil, with(card("0x8086"), "/dev/dri/renderD128", "", "/etc/os-release", "ID=alpine"), []device{{vk.Info{VendorID: intel}, "cpu"}}, warning, "apk add"},
		"one of two":               {nil, with(card("0x10de"), "/sys/bus/pci/devices/0000:00:02.0/class", "0x038000", "/sys/bus/pci/devices/0000:00:02.0/vendor", "0x8086"), []device{{vk.Info{VendorID: intel}, "integrated"}}, warning, "GPU of NVIDIA"},
		"a vendor that is unclear": {nil, card("what"), nil, ok, "tells of none"},
	} {
		got := fakeMachine(c.env, c.files).checkGPUs(c.devices)
		if got.Status != c.status || !strings.Contains(got.Summary+" "+got.Advice, c.want) {
			t.Errorf("%s: %+v, want %s and %q", name, got, c.status, c.want)
		}
	}
}

func TestInstall(t *testing.T) {
	for _, c := range []struct{ goos, release, want string }{
		{"linux", "ID=debian\nVERSION_ID=\"12\"", "sudo apt install"},
		{"linux", "NAME=\"Linux Mint\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"", "sudo apt install"},
		{"linux", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"", "sudo dnf install"},
		{"linux", "ID=arch", "sudo pacman"},
		{"linux", "ID=alpine", "sudo apk"},
		{"linux", "ID=other", "debian: sudo apt install"},
		{"linux", "", "alpine: sudo apk add"},
		{"darwin", "", "brew install molten-vk"},
		{"windows", "", "driver from the GPU's vendor"},
	} {
		if got := installOn(c.goos, c.release); !strings.Contains(got, c.want) {
			t.Errorf("%s with %q: %s, want %q", c.goos, c.release, got, c.want)
		}
	}
}

func TestChoice(t *testing.T) {
	cpu, gpu := vk.Info{Name: "llvmpipe", Kind: vk.CPU}, vk.Info{Index: 1, Name: "RTX", Kind: vk.Discrete}
	for _, c := range []struct {
		infos          []vk.Info
		opened         vk.Info
		wanted, status string
		want           string
	}{
		{[]vk.Info{cpu}, cpu, "", warning, "a processor"},
		{[]vk.Info{cpu, gpu}, gpu, "", ok, "best of 2"},
		{[]vk.Info{cpu, gpu}, cpu, "llvm", warning, "while there is RTX"},
		{[]vk.Info{gpu}, gpu, "", ok, "the only one"},
	} {
		if got := checkChoice(c.infos, c.opened, c.wanted); got.Status != c.status || !strings.Contains(got.Summary, c.want) {
			t.Errorf("%+v, want %s and %q", got, c.status, c.want)
		}
	}
}

func TestKnownDrivers(t *testing.T) {
	gpu := vk.Info{Kind: vk.Discrete, Driver: "NVIDIA 1", Caps: vk.Caps{SubgroupArithmetic: true, Matrices: []vk.Matrix{{M: 16, N: 16, K: 16}}}}
	env := func(key, value string) func(string) string {
		return func(k string) string { return map[string]string{key: value}[k] }
	}
	for _, c := range []struct {
		info         vk.Info
		env          func(string) string
		status, want string
	}{
		{gpu, env("", ""), ok, "none of NVIDIA 1"},
		{vk.Info{Name: "llvmpipe (LLVM 15)", Kind: vk.CPU, Caps: gpu.Caps}, env("", ""), ok, "65,535"},
		{vk.Info{Kind: vk.CPU, Caps: gpu.Caps}, env("", ""), ok, "cooperative"},
		{vk.Info{Name: "V3D"}, env("", ""), ok, "subgroup arithmetic"},
		{gpu, env("VK_INSTANCE_LAYERS", "VK_LAYER_KHRONOS_validation"), warning, "1.3.239"},
		{gpu, env("RADV_FORCE_FAMILY", "navi21"), warning, "runs nothing"},
	} {
		if got := checkKnown(c.info, c.env); got.Status != c.status || !strings.Contains(got.Summary, c.want) {
			t.Errorf("%+v, want %s and %q", got, c.status, c.want)
		}
	}
}

// The loader's words as versions 1.3.239 and 1.3.290 write them.
func TestLoaderWords(t *testing.T) {
	w, rest := loaderWords("DRIVER:           Found ICD manifest file /usr/share/vulkan/icd.d/lvp_icd.x86_64.json, version \"1.0.0\"\n" +
		"ERROR:            /no.so: cannot open shared object file: No such file or directory\n" +
		"ERROR:            /no.so: cannot open shared object file: No such file or directory\r\n" +
		"[Vulkan Loader] WARNING | DRIVER: terminator: something\n" +
		"[Vulkan Loader] DRIVER:           Found ICD manifest file C:\\a b\\x.json, version 1.0.0\n" +
		"INFO | DRIVER:    linux_read_sorted_physical_devices:\n" +
		"SIGSEGV: segmentation violation\n")
	if strings.Join(w.manifests, "|") != `/usr/share/vulkan/icd.d/lvp_icd.x86_64.json|C:\a b\x.json` {
		t.Errorf("manifests %q", w.manifests)
	}
	if strings.Join(w.problems, "|") != "/no.so: cannot open shared object file: No such file or directory|terminator: something" {
		t.Errorf("problems %q", w.problems)
	}
	if rest != "SIGSEGV: segmentation violation" {
		t.Errorf("the rest is %q", rest)
	}
}

// Reports go to strangers.
func TestReportsHideTheHome(t *testing.T) {
	t.Setenv("HOME", "/tmp/me")
	t.Setenv("USERPROFILE", "/tmp/me")
	if home, err := os.UserHomeDir(); err != nil || home != "/tmp/me" {
		t.Skip("the system has another home: ", home, err)
	}
	r := Report{Checks: []Check{warn("a", "look at /tmp/me", "/tmp/me/x and /tmp/meadow/y").
		with("list", []string{"/tmp/me/z"}).with("map", map[string]string{"k": "/tmp/me:/tmp/me/b"}).with("any", map[string]any{"l": []any{"/tmp/me", 1.0}})}}
	var b strings.Builder
	if err := r.writeJSON(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.ReplaceAll(b.String(), "/tmp/meadow", ""), "/tmp/me") || !strings.Contains(b.String(), "~/x and /tmp/meadow/y") || !strings.Contains(b.String(), "~:~/b") {
		t.Error(b.String())
	}
	var back Report
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || back.Checks[0].Advice != "look at ~" {
		t.Errorf("%+v, %v", back, err)
	}
}

// Programs read reports: another key, or another meaning of one, is another format.
func TestKeysOfReports(t *testing.T) {
	var b strings.Builder
	r := Report{Format: 1, Works: true}
	r.add(good("a", "b"), warn("c", "d", "e").with("f", 1))
	if err := r.writeJSON(&b); err != nil {
		t.Fatal(err)
	}
	const want = `{"format":1,"works":true,"checks":[{"name":"a","status":"ok","summary":"b"},{"name":"c","status":"warning","summary":"e","advice":"d","details":{"f":1}}]}`
	if got := strings.Join(strings.Fields(b.String()), ""); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if r.add(fail("g", "", "h")); r.Works || r.verdict() != "training does not work here: g" {
		t.Errorf("after a failure: %v, %s", r.Works, r.verdict())
	}
}

// Wrong results of a device are seen.
func TestPrecisionSeesErrors(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		got, want float64
		wrong     bool
	}{
		{1, 1, false}, {1 + 4.0/(1<<23), 1, false}, {1 + 6.0/(1<<23), 1, true}, {nan, nan, false}, {inf, inf, false}, {inf, 1e39, false},
		{nan, 1, true}, {1, nan, true}, {inf, 1, true}, {3e38, inf, true}, {-inf, inf, true}, {0, 1e-36, false}, {0, 1e-30, true}, {0, 0, false}, {1e-20, 0, true},
	} {
		if off := unitsOff(c.got, c.want); off > 5 != c.wrong {
			t.Errorf("%v for %v is off by %v", c.got, c.want, off)
		}
	}
	for bits, want := range map[float32][2]float32{
		1 + 0x1p-11: {1, 1}, 1 + 3*0x1p-11: {1 + 0x1p-9, 1}, 65519: {65504, 65536}, 65520: {float32(inf), 65536}, 0x1p-25: {0, 0x1p-25},
		0x1.8p-24: {0x1p-23, 0x1.8p-24}, 1 + 0x1p-8: {1 + 0x1p-8, 1}, 1 + 3*0x1p-8: {1 + 3*0x1p-8, 1 + 0x1p-6},
	} {
		if f16, bf16 := stored(ops.F16, bits), stored(ops.BF16, bits); f16 != want[0] || bf16 != want[1] {
			t.Errorf("%v is stored as %v and %v, want %v", bits, f16, bf16, want)
		}
	}
}

// A variable that names no file, and one that is empty, keep the loader from its drivers.
func TestEnvironment(t *testing.T) {
	for entry, want := range map[string]string{
		"PATH=/bin": ok, "VK_ICD_FILENAMES=" + os.Args[0]: ok, "VK_ICD_FILENAMES=": warning, "VK_DRIVER_FILES=" + string(os.PathListSeparator): warning,
		"VK_DRIVER_FILES=/none.json": warning, "LEMNOS_MATRIX_CORES=yes": warning, "LEMNOS_MATRIX_CORES=off": ok,
	} {
		if c := (&machine{environ: []string{entry}}).checkEnvironment(); c.Status != want || (want == warning) != (c.Advice != "") {
			t.Errorf("%s: %+v", entry, c)
		}
	}
}
