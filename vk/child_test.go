package vk_test

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

// childVariable is set, to the test's name, in a process that runs only that test.
const childVariable = "LEMNOS_TEST_CHILD"

// inChild says whether this process was started by runChild for the test.
func inChild(t *testing.T) bool { return os.Getenv(childVariable) == t.Name() }

// runChild runs the test that calls it once more, alone in a new process with more in the environment, and
// returns the process's output and whether it passed.
func runChild(t *testing.T, env ...string) (output string, passed bool) {
	t.Helper()
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.timeout=5m"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), childVariable+"="+t.Name()), env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), err == nil
}
