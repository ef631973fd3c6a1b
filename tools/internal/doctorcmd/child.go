package doctorcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// program returns the path that this command is started again by.
var program = os.Executable

// startProbe runs a probe in a process of its own. How that ends, if not with the checks, is a failed check.
func startProbe(ctx context.Context, name string) []Check {
	limit := probes[name].limit
	path, err := program()
	if err != nil {
		return []Check{fail(name, "", "this program does not find itself: %v", err)}
	}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var out, said bytes.Buffer
	child := exec.CommandContext(timed, path, "doctor", "-json", "-check", name)
	child.Stdout, child.Stderr = &out, &said
	child.WaitDelay = time.Second // for what a killed process has started and left
	// The loader tells on the standard error which drivers it finds, and what is wrong with them.
	child.Env = append(os.Environ(), "VK_LOADER_DEBUG=error,warn,driver")
	err = child.Run()
	loader, rest := loaderWords(said.String())
	var checks []Check
	if err == nil { // the last line, after what a driver may have written
		lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
		err = json.Unmarshal(lines[len(lines)-1], &checks)
	}
	switch {
	case child.ProcessState == nil:
		checks = []Check{fail(name, "", "this program cannot start itself again: %v", err)}
	case err != nil:
		checks = []Check{broken(name, limit, timed.Err(), err, rest).with("command", "lemnos doctor -check "+quoted(name))}
	}
	if name == "vulkan" {
		checks = append(checks, checkDrivers(loader))
	}
	return checks
}

func quoted(name string) string {
	if strings.Contains(name, " ") {
		return "'" + name + "'"
	}
	return name
}

// broken is the check of a process that did not end as it should, after what it said.
func broken(name string, limit time.Duration, timedOut, err error, said string) Check {
	const advice = "this is most likely the driver: install its newest version, or choose another device with LEMNOS_DEVICE; " +
		"the system's log may say more (Linux: dmesg)"
	if errors.Is(timedOut, context.DeadlineExceeded) {
		return fail(name, advice, "the driver gave no answer for %v", limit).with("said", tail(said))
	}
	what := err.Error()
	if line := fault.FindString(said); line != "" {
		what = line
	}
	return fail(name, advice, "the process that asked the driver has ended: %s", what).with("said", tail(said))
}

// fault finds in what a process said the line that tells why it ended.
var fault = regexp.MustCompile(`(?m)^(SIG[A-Z]+|fatal error|panic|Exception|unexpected fault).*$`)

// tail is the end of a text: enough to see what was called.
func tail(s string) []string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > 40 {
		lines = append(append(slices.Clone(lines[:20]), "…"), lines[len(lines)-20:]...)
	}
	return lines
}

// words is what the Vulkan loader said: the manifests of drivers that it found, and what is wrong.
type words struct{ manifests, problems []string }

var (
	loaderManifest = regexp.MustCompile(`Found ICD manifest file (.*?), version`)
	loaderLine     = regexp.MustCompile(`^(?:\[[^\]]*\] *)?((?:[A-Z]+ *\| *)*(?:ERROR|WARNING|DRIVER|INFO|DEBUG|LAYER|PERF)(?: *\| *[A-Z]+)*) *: *(.*)$`)
)

// loaderWords separates what the loader said from what the process itself did. The loader says much of it several times.
func loaderWords(said string) (w words, rest string) {
	var others []string
	add := func(list *[]string, s string) {
		if s != "" && !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	for line := range strings.Lines(said) {
		line = strings.TrimRight(line, "\r\n")
		m := loaderLine.FindStringSubmatch(line)
		if m == nil {
			others = append(others, line)
			continue
		}
		if found := loaderManifest.FindStringSubmatch(m[2]); found != nil {
			add(&w.manifests, found[1])
		} else if strings.Contains(m[1], "ERROR") || strings.Contains(m[1], "WARNING") {
			add(&w.problems, m[2])
		}
	}
	return w, strings.Join(others, "\n")
}

// checkDrivers tells which drivers the loader knows. That it opens none is said by the check of the devices.
func checkDrivers(w words) Check {
	const name = "drivers"
	c := good(name, "%s: %s", count(len(w.manifests), "manifest"), strings.Join(w.manifests, ", "))
	switch {
	case len(w.problems) > 0:
		c = warn(name, "reinstall the driver that it belongs to, or remove its manifest; where a variable of the environment names it, mend or unset that",
			"%s; the loader says: %s", count(len(w.manifests), "manifest"), w.problems[0])
	case len(w.manifests) == 0:
		c = Check{Name: name, Status: skipped, Summary: "the loader names no manifest of a driver"}
	}
	return c.with("manifests", w.manifests).with("problems", w.problems)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
