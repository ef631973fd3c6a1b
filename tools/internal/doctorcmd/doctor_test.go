package doctorcmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/vk"
)

// asProbe makes the test binary do what the driver of a probe may do.
const asProbe = "LEMNOS_TEST_AS_PROBE"

// The test binary is the program that the command starts again.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "doctor" {
		vktest.Main(m)
	}
	switch os.Getenv(asProbe) {
	case "crash":
		fmt.Fprintln(os.Stderr, "SIGSEGV: segmentation violation")
		os.Exit(2)
	case "hang":
		time.Sleep(time.Hour)
	case "chatter":
		fmt.Println("hello from the driver")
	}
	os.Exit(Command.Run(&command.Process{Command: Command, Called: os.Args[0], Whole: true, Args: os.Args[2:], Stdout: os.Stdout, Stderr: os.Stderr}))
}

// doctor runs the command in a process of its own.
func doctor(t *testing.T, env []string, args ...string) (r Report, text string, status int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], append([]string{"doctor"}, args...)...)
	c.Env = append(os.Environ(), env...)
	out, err := c.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if len(args) > 0 && args[0] == "-json" {
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
	}
	return r, string(out), c.ProcessState.ExitCode()
}

func (r Report) check(t *testing.T, name string) Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no check %s among %v", name, r.Checks)
	return Check{}
}

// Where a device is, all is found out about it, and training works.
func TestDoctor(t *testing.T) {
	vktest.Open(t) // skips where there is no device
	dir := t.TempDir()
	r, _, status := doctor(t, nil, "-json", "-dir", filepath.Join(dir, "a", "b"))
	if !r.Works || status != 0 || r.Format != 1 {
		t.Fatalf("works %v, status %d, %+v", r.Works, status, r)
	}
	names := "program system environment loader device limits known faults kernel cache drivers GPUs checkpoints precision memory product matrix cores training"
	var got []string
	for _, c := range r.Checks {
		got = append(got, c.Name)
		if c.Status != ok && c.Status != warning && c.Name != "drivers" || c.Summary == "" || strings.Contains(c.Summary, "\n") {
			t.Errorf("%+v", c)
		}
	}
	if strings.Join(got, " ") != names {
		t.Errorf("checks %v, want %s", got, names)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("the folder of checkpoints has %v, %v", files, err)
	}
	if rate, _ := r.check(t, "memory").Details["bytes_per_second"].(float64); rate < 1e6 {
		t.Errorf("a memory of %v bytes/s", rate)
	}
	if off := r.check(t, "precision").Details["units_off"].(map[string]any); len(off) != len(functions) {
		t.Errorf("the precision of %v", off)
	}
	_, text, status := doctor(t, nil, "-dir", dir)
	if status != 0 || !strings.Contains(text, "\ntraining works here") || strings.Contains(text, "\x1b") {
		t.Errorf("status %d and\n%s", status, text)
	}
}

// Without a driver, or with one that cannot be loaded, the report says so and what to install.
func TestDoctorWithoutDriver(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	manifest := `{"file_format_version": "1.0.0", "ICD": {"library_path": "` + filepath.ToSlash(filepath.Join(dir, "no.so")) + `", "api_version": "1.3.0"}}`
	for path, text := range map[string]string{bad: manifest, filepath.Join(dir, "worse.json"): "{"} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := vk.Loader(); err != nil {
		t.Skip(err)
	}
	for file, problem := range map[string]string{"bad.json": "no.so", "worse.json": "worse.json", "none.json": "none.json"} {
		path := filepath.Join(dir, file)
		r, _, status := doctor(t, []string{"VK_ICD_FILENAMES=" + path, "VK_DRIVER_FILES=" + path}, "-json", "-dir", dir)
		if r.Works || status != 1 {
			t.Errorf("%s: works %v, status %d", file, r.Works, status)
		}
		if c := r.check(t, "device"); c.Status != failure || c.Advice == "" || !strings.Contains(c.Summary, "vkCreateInstance") && !strings.Contains(c.Summary, "found no") {
			t.Errorf("%s: %+v", file, c)
		}
		if c := r.check(t, "drivers"); c.Status != warning || !strings.Contains(c.Summary, problem) {
			t.Errorf("%s: %+v", file, c)
		}
		if c := r.check(t, "environment"); (c.Status == warning) != (file == "none.json") {
			t.Errorf("%s: %+v", file, c)
		}
		if c := r.check(t, "training"); c.Status != skipped {
			t.Errorf("%s: %+v", file, c)
		}
	}
}

// A device that is not there, and kernels that are compiled each time.
func TestDoctorOfSettings(t *testing.T) {
	vktest.Open(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	r, _, failed := doctor(t, []string{"LEMNOS_DEVICE=no such device"}, "-json", "-dir", t.TempDir())
	if c := r.check(t, "GPUs"); failed != 1 || strings.Contains(c.Summary, "does not find") {
		t.Errorf("a device that is not there: status %d, %+v", failed, c)
	}
	_, text, status := doctor(t, []string{"LEMNOS_DEVICE=no such device", "LEMNOS_CACHE=" + file}, "-check", "vulkan")
	if status != 1 || !strings.Contains(text, "failure  device") || strings.Contains(text, "kernel cache") || !strings.Contains(text, "no such device") || !strings.Contains(text, "unset LEMNOS_DEVICE") {
		t.Errorf("a device that is not there:\n%s", text)
	}
	_, text, _ = doctor(t, []string{"LEMNOS_CACHE=" + filepath.Join(file, "cache")}, "-check", "vulkan")
	if !strings.Contains(text, "warning  kernel cache") || !strings.Contains(text, "LEMNOS_CACHE") {
		t.Errorf("a cache that cannot be written:\n%s", text)
	}
	if c := checkFolder("checkpoints", filepath.Join(file, "runs")); c.Status != failure {
		t.Errorf("checkpoints below a file: %+v", c)
	}
}

// A driver that crashes or hangs is a line of the report, and one that talks is not heard.
func TestProbesAreContained(t *testing.T) {
	vktest.Open(t)
	patient := probes["vulkan"]
	defer func() { probes["vulkan"] = patient }()
	for how, want := range map[string]string{"crash": "SIGSEGV", "hang": "no answer for", "chatter": ""} {
		t.Setenv(asProbe, how)
		probes["vulkan"] = patient
		if how == "hang" {
			probes["vulkan"] = probe{patient.run, time.Second}
		}
		checks := startProbe(t.Context(), "vulkan")
		devices, opened := listed(checks)
		if opened != (want == "") || opened != (len(devices) > 0) {
			t.Errorf("%s: devices %v, one is open: %v", how, devices, opened)
		}
		if !opened && (len(checks) != 2 || checks[0].Status != failure || !strings.Contains(checks[0].Summary, want) || checks[0].Advice == "") {
			t.Errorf("%s: %+v", how, checks)
		}
	}
}

func TestArguments(t *testing.T) {
	for want, args := range map[string][]string{
		`-check is "x"`:             {"-check", "x"},
		"unexpected argument":       {"x"},
		"there is no flag -nothing": {"-nothing"},
		"help requested":            {"-help"},
	} {
		err := run(t.Context(), &command.Process{Command: Command, Args: args, Stdout: &bytes.Buffer{}})
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, flag.ErrHelp) != (want == "help requested") {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}

// Without a loader the report is whole all the same.
func TestDoctorWithoutLoader(t *testing.T) {
	var hide []string
	for _, pattern := range []string{"/usr/lib/*/libvulkan.so*", "/usr/lib/libvulkan.so*", "/usr/lib64/libvulkan.so*", "/usr/local/lib/libvulkan.so*"} {
		found, _ := filepath.Glob(pattern)
		for _, path := range found {
			hide = append(hide, "mount --bind /dev/null "+path)
		}
	}
	hidden := func(command ...string) ([]byte, error) {
		script := strings.Join(append(hide, `exec "$@"`), "\n")
		return exec.Command("unshare", append([]string{"--map-root-user", "--mount", "sh", "-ec", script, "sh"}, command...)...).Output()
	}
	if _, err := hidden("true"); err != nil {
		t.Skip("libraries cannot be hidden here: ", err)
	}
	out, err := hidden(os.Args[0], "doctor", "-json", "-dir", t.TempDir())
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("%v and %s", err, out)
	}
	var r Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if c := r.check(t, "loader"); r.Works || c.Status != failure || !strings.Contains(c.Summary, "no Vulkan loader (libvulkan.so.1)") || !strings.Contains(c.Advice, "vulkan") {
		t.Errorf("%+v", r)
	}
}
