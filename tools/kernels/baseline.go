package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// baseline is what spills on a GPU that chooses it, of the driver that it was written with: compilers differ.
type baseline struct {
	Driver string
	Spills map[string]int // by kernel; all others spill nothing
}

func readBaseline(file string) (*baseline, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	b := &baseline{}
	if err := json.Unmarshal(data, b); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return b, nil
}

func writeBaseline(file string, r *report) error {
	b := baseline{r.Driver, map[string]int{}}
	for _, k := range r.chosen() {
		if k.Spills > 0 {
			b.Spills[k.Kernel] = k.Spills
		}
	}
	data, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// checkSpills is an error that names the kernels which spill more than is known.
func (r *report) checkSpills(known *baseline) error {
	if known.Driver != r.Driver {
		fmt.Fprintf(os.Stderr, "spills are not compared: the baseline is of %q, this is %q\n", known.Driver, r.Driver)
		return nil
	}
	var err error
	for _, k := range r.chosen() {
		if k.Spills > known.Spills[k.Kernel] {
			err = errors.Join(err, fmt.Errorf("%s (%s) spills %d, %d are known; -update accepts that", k.Kernel, k.Group, k.Spills, known.Spills[k.Kernel]))
		}
	}
	return err
}
