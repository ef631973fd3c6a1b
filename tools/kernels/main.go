// Kernels compiles the kernels of the presets and of each operation with a device's driver, runs none of them, and prints
// what the driver's compiler tells of each: registers, spills, shared memory, occupancy, subgroup size, code size.
//
//	go run ./tools/kernels [-device ...] [-only group] [-name gpu [-update]] [-json]
//	go run ./tools/kernels -markdown gpu.json...
//
// It fails on a kernel that does not compile and on subgroups smaller than a kernel reduces over; with -name also on kernels
// that spill more than tools/kernels/baseline/<name>.json says, which -update writes. The second form compares reports that
// -json wrote. A GPU is not needed where the driver can do without, as Mesa's can:
//
//	RADV_FORCE_FAMILY=navi21 VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/radeon_icd.x86_64.json go run ./tools/kernels
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/vk"
)

var (
	flags      = command.Flags("kernels")
	device     = flags.String("device", "", "index or part of the name; empty: $LEMNOS_DEVICE, or the best")
	name       = flags.String("name", "", "name of the GPU in baseline/")
	update     = flags.Bool("update", false, "write the spills to baseline/ instead of comparing them")
	only       = flags.String("only", "", "part of the name of a group, as the table's last column has it: no other is compiled")
	asJSON     = flags.Bool("json", false, "print JSON, with all that the driver tells")
	asMarkdown = flags.Bool("markdown", false, "compare reports, the arguments: a table of the kernels that spill")
)

var kernels = &command.Command{
	Name:     "kernels",
	Usage:    "[-device ...] [-only group] [-name gpu [-update]] [-json]\n       kernels -markdown report.json...",
	Short:    "Compile every kernel for a device, and tell what became of it",
	Examples: []string{"lemnos kernels -only matmul"},
	Run: command.AtOnce(func(p *command.Process) error {
		if err := p.Parse(flags); err != nil {
			return err
		}
		switch {
		case *asMarkdown:
			return compare(p.Stdout)
		case flags.NArg() > 0:
			return command.Misused(flags, "unexpected argument %q", flags.Arg(0))
		}
		return compile(p.Stdout)
	}),
}

func main() { command.Main(kernels) }

func compile(out io.Writer) error {
	dev, err := vk.Open(&vk.Options{Device: *device, CompileOnly: true})
	if err != nil {
		return err
	}
	defer dev.Close()
	r, failed := compileAll(dev)
	if r == nil {
		return failed
	}
	if *asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", " ")
		err = e.Encode(r)
	} else {
		err = r.table(out)
	}
	return errors.Join(err, failed, r.checkSubgroups(), compareSpills(r))
}

// compareSpills holds the report against the baseline of the name, or writes that.
func compareSpills(r *report) error {
	if *name == "" {
		return nil
	}
	file := filepath.Join("tools", "kernels", "baseline", *name+".json")
	if *update {
		return writeBaseline(file, r)
	}
	known, err := readBaseline(file)
	if err != nil {
		return fmt.Errorf("%w; -update writes it", err)
	}
	return r.checkSpills(known)
}

func compare(out io.Writer) error {
	var list []named
	for _, file := range flags.Args() {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		n := named{name: filepath.Base(file[:len(file)-len(filepath.Ext(file))])}
		if err := json.Unmarshal(data, &n.report); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, n)
	}
	if len(list) == 0 {
		return errors.New("-markdown wants the files that -json wrote")
	}
	return markdown(out, list)
}
