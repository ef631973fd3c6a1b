// Package devicescmd is the command devices: it lists the Vulkan devices of this machine.
package devicescmd

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/vk"
)

// Command lists the Vulkan devices of this machine.
var Command = &command.Command{
	Name:  "devices",
	Usage: "[flags]",
	Short: "List the Vulkan devices of this machine",
	Long: `They come in the order that an index given to -device counts them, with the limits and
features that kernels are chosen by, and which of them programs open when they are not told.

With -tune it also measures, in some seconds, which tiles make products on the matrix cores
of the device fastest, and keeps them for all programs, beside the compiled kernels.
`,
	Examples: []string{
		"lemnos devices",
		"lemnos devices -json    # for programs",
		"lemnos devices -tune    # once on a new GPU",
	},
	Flags: func() *flag.FlagSet { return flags(new(options)) },
	Run: command.AtOnce(func(p *command.Process) error {
		var o options
		if err := p.ParseFlags(flags(&o)); err != nil {
			return err
		}
		return run(o, p.Stdout)
	}),
}

// options are the flags.
type options struct{ json, tune bool }

func flags(o *options) *flag.FlagSet {
	fs := command.Flags("devices")
	fs.BoolVar(&o.json, "json", false, "print JSON")
	fs.BoolVar(&o.tune, "tune", false, "measure which kernels suit the default device best, and keep that for all programs")
	return fs
}

// Names completes the value of a flag -device.
func Names() (words []string, files bool) {
	infos, _ := vk.Devices() // without any there are no names
	for _, d := range infos {
		words = append(words, fmt.Sprintf("%d\t%s", d.Index, d.Name))
	}
	return words, false
}

// listed is a device as JSON has it: the kind by name.
type listed struct {
	vk.Info
	Kind    string
	Default bool
}

func run(o options, out io.Writer) error {
	infos, err := vk.Devices()
	if err != nil {
		return err
	}
	opened := -1 // by default, as far as it can be opened
	var cores, tuned []ops.MatrixCores
	dev, openErr := vk.Open(nil)
	if openErr == nil {
		opened, cores = dev.Info().Index, ops.CheckMatrixCores(dev)
		var tuneErr error
		if o.tune {
			tuned, tuneErr = ops.Tune(context.Background(), dev)
		}
		openErr = errors.Join(tuneErr, dev.Close())
	}
	if o.json {
		list := make([]listed, len(infos))
		for i, d := range infos {
			list[i] = listed{d, d.Kind.String(), i == opened}
		}
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return errors.Join(e.Encode(list), openErr)
	}
	for i, d := range infos {
		fmt.Fprint(out, describe(d, i == opened))
		if i == opened {
			fmt.Fprint(out, describeCores("matrix cores", cores))
			if o.tune {
				fmt.Fprint(out, describeCores("tuned", tuned))
			}
		}
	}
	return openErr
}

func describe(d vk.Info, opened bool) string {
	c := d.Caps
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "    %-15s %s\n", label, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "%d: %s%s\n", d.Index, d.Name, choose(opened, " (opened by default)", ""))
	line("kind", "%s", d.Kind)
	line("driver", "%s", d.Driver)
	line("Vulkan", "%s", d.API)
	line("memory", "%s, %s", command.Size(d.Memory), choose(c.HostVisible, "mapped by the host: uploads need no staging", "not mapped by the host: uploads are staged"))
	line("allocation", "at most %s at a time", command.Size(c.MaxAllocation))
	line("tensor", "at most %s in one binding, bound at multiples of %d bytes", command.Size(c.MaxStorageRange), c.StorageAlign)
	line("cores", "%s", choose(c.Cores > 0, fmt.Sprint(c.Cores), "the driver does not say"))
	line("workgroup", "at most %d invocations (%d x %d x %d), %s of shared memory", c.MaxInvocations, c.MaxLocalSize[0], c.MaxLocalSize[1], c.MaxLocalSize[2], command.Size(uint64(c.SharedMemory)))
	line("dispatch", "at most %d x %d x %d workgroups, %d bytes of push constants", c.MaxGroups[0], c.MaxGroups[1], c.MaxGroups[2], c.PushBytes)
	line("subgroup", "%d invocations%s, %s arithmetic", c.SubgroupSize, choose(c.FullSubgroups, "", " or fewer"), choose(c.SubgroupArithmetic, "with", "without"))
	line("arithmetic", "%s", strings.Join([]string{has(c.Float16, "16-bit floats"), has(c.Storage16, "16-bit storage"), has(c.Int64, "64-bit integers"), has(c.Float64, "64-bit floats")}, ", "))
	line("time stamps", "%s", choose(c.TimestampPeriod > 0, fmt.Sprintf("%g ns per tick", c.TimestampPeriod), "none"))
	return b.String()
}

// describeCores tells what products and attention of 16-bit types run on; of a device that is not open nobody knows.
func describeCores(label string, cores []ops.MatrixCores) string {
	var b strings.Builder
	for _, c := range cores {
		fmt.Fprintf(&b, "    %-15s %s of %v, %d x %d x %d at a time, %s: %s\n", label, c.Work, c.DType, c.Matrix.M, c.Matrix.N, c.Matrix.K,
			choose(c.Used, "used", "not used"), c.Why)
	}
	return choose(len(cores) > 0, b.String(), fmt.Sprintf("    %-15s none\n", label))
}

func choose(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

func has(yes bool, what string) string { return choose(yes, what, "no "+what) }
