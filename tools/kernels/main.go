// Kernels compiles the kernels of the presets and of each operation with a device's driver, runs none of them, and prints
// what the driver's compiler tells of each: registers, spills, shared memory, occupancy, subgroup size, code size.
//
//	go run ./tools/kernels [-device ...] [-name gpu [-update]] [-json]
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
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lemnos-ml/lemnos/vk"
)

var (
	device     = flag.String("device", "", "index or part of the name; empty: $LEMNOS_DEVICE, or the best")
	name       = flag.String("name", "", "name of the GPU in baseline/")
	update     = flag.Bool("update", false, "write the spills to baseline/ instead of comparing them")
	asJSON     = flag.Bool("json", false, "print JSON, with all that the driver tells")
	asMarkdown = flag.Bool("markdown", false, "compare reports, the arguments: a table of the kernels that spill")
)

func main() {
	flag.Parse()
	run := compile
	if *asMarkdown {
		run = compare
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func compile() error {
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
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", " ")
		err = e.Encode(r)
	} else {
		err = r.table(os.Stdout)
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

func compare() error {
	var list []named
	for _, file := range flag.Args() {
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
	return markdown(os.Stdout, list)
}
