// Package doctorcmd is the command doctor: it finds out why training does not work on a machine, or not as fast as it could,
// and writes what belongs in a bug report.
//
// What asks a driver runs in a process of its own, with a time limit: a driver that crashes or hangs is a line of the report.
package doctorcmd

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
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

// Command finds out why training does not work on a machine, or not as fast as it could. It is a command of lemnos alone,
// which it starts again for what asks a driver.
var Command = &command.Command{
	Name:  "doctor",
	Usage: "[flags]",
	Short: "Find out why training does not work on this machine, or is slow",
	Long: `It looks at the system, the Vulkan loader, the drivers and the devices, and tries what training does: precision, memory,
products, a few steps. What asks a driver runs in a process of its own, with a time limit. It fails where training does not work.
`,
	Examples: []string{
		"lemnos doctor",
		"lemnos doctor -json >report.json    # for a bug report",
	},
	Flags:  func() *flag.FlagSet { return flags(new(options)) },
	Values: map[string]command.Values{"check": command.Words(slices.Sorted(maps.Keys(probes))...), "dir": command.OrFiles()},
	Run:    command.Interruptible(run),
}

// options are the flags.
type options struct {
	json  bool
	dir   string
	check string
}

func flags(o *options) *flag.FlagSet {
	fs := command.Flags("doctor")
	fs.BoolVar(&o.json, "json", false, "write one JSON object, for a bug report")
	fs.StringVar(&o.dir, "dir", "checkpoints", "folder where checkpoints are to go")
	fs.StringVar(&o.check, "check", "", "run this check alone, in this process: "+strings.Join(slices.Sorted(maps.Keys(probes)), ", "))
	return fs
}

func run(ctx context.Context, p *command.Process) error {
	var o options
	fs, stdout := flags(&o), p.Stdout
	if err := p.ParseFlags(fs); err != nil {
		return err
	}
	if o.check != "" {
		alone, known := probes[o.check]
		if !known {
			return command.Misused(fs, "-check is %q", o.check)
		}
		return write(stdout, o.json, alone.run(ctx))
	}
	r := &Report{Format: 1, Works: true}
	show := func(checks ...Check) {
		before := len(r.Checks)
		r.add(checks...)
		for _, c := range r.private().Checks[before:] {
			if !o.json {
				c.text(stdout)
			}
		}
	}
	examine(ctx, o.dir, show)
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.json {
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

// write writes the checks of one probe. As JSON, in one line, they are for the process that asked, which judges them.
func write(w io.Writer, asJSON bool, checks []Check) error {
	if asJSON {
		return json.NewEncoder(w).Encode(checks)
	}
	var err error
	for _, c := range checks {
		if c.text(w); c.Status == failure {
			err = errBroken
		}
	}
	return err
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
