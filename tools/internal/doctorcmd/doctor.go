// Package doctorcmd is the command doctor: it finds out why training does not work on a machine, or not as fast as it could,
// and writes what belongs in a bug report.
//
// What asks a driver runs in a process of its own, with a time limit: a driver that crashes or hangs is a line of the report.
package doctorcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

// errBroken ends a run whose report says that training does not work; the report has said why.
var errBroken = errors.New("doctor: training does not work here")

// probe is what a process of its own finds out with a driver.
type probe struct {
	run   func(ctx context.Context) []Check
	limit time.Duration
}

// The time limits are for processors: a GPU takes a second or two.
var probes = map[string]probe{
	"vulkan":       {askVulkan, time.Minute},
	"precision":    {onDevice("precision", checkPrecision), 2 * time.Minute},
	"memory":       {onDevice("memory", checkMemory), time.Minute},
	"product":      {onDevice("product", checkProduct), time.Minute},
	"matrix cores": {onDevice("matrix cores", checkMatrixCores), 2 * time.Minute},
	"training":     {onDevice("training", checkTraining), 2 * time.Minute},
}

// deviceProbes need a device, in the order of the report.
var deviceProbes = []string{"precision", "memory", "product", "matrix cores", "training"}

// run is the command.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	fs := command.Flags("doctor", "doctor [flags]")
	fs.SetOutput(stdout)
	asJSON := fs.Bool("json", false, "write one JSON object, for a bug report")
	folder := fs.String("dir", "checkpoints", "folder where checkpoints are to go")
	alone := fs.String("check", "", "run this check alone, in this process: "+strings.Join(slices.Sorted(maps.Keys(probes)), ", "))
	if err := command.NoOperands(fs, args); err != nil {
		return err
	}
	if *alone != "" {
		p, known := probes[*alone]
		if !known {
			return command.Misused(fs, "-check is %q", *alone)
		}
		return write(stdout, *asJSON, p.run(ctx))
	}
	r := &Report{Format: 1, Works: true}
	show := func(checks ...Check) {
		before := len(r.Checks)
		r.add(checks...)
		for _, c := range r.private().Checks[before:] {
			if !*asJSON {
				c.text(stdout)
			}
		}
	}
	examine(ctx, *folder, show)
	if err := ctx.Err(); err != nil {
		return err
	}
	if *asJSON {
		if err := r.writeJSON(stdout); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(stdout, "\n%s\n", r.verdict())
	}
	if !r.Works {
		return errBroken
	}
	return nil
}

// write writes the checks of one probe.
func write(w io.Writer, asJSON bool, checks []Check) error {
	if asJSON {
		return json.NewEncoder(w).Encode(checks)
	}
	for _, c := range checks {
		c.text(w)
	}
	return nil
}

// examine runs all checks and shows each as it is done.
func examine(ctx context.Context, folder string, show func(...Check)) {
	m := thisMachine()
	show(checkProgram(), m.checkSystem(), m.checkEnvironment())
	vulkan := startProbe(ctx, "vulkan")
	show(vulkan...)
	devices, opened := listed(vulkan)
	show(m.checkGPUs(devices), checkFolder("checkpoints", folder))
	for _, name := range deviceProbes {
		if ctx.Err() != nil {
			return
		}
		if !opened {
			show(Check{Name: name, Status: skipped, Summary: "no device is open"})
			continue
		}
		show(startProbe(ctx, name)...)
	}
}
