package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// report is what a device's compiler made of all kernels.
type report struct {
	Device, Driver string
	Kernels        []row
}

// row is one kernel, under the first of the groups that has it.
type row struct {
	Kernel   string // with the specialization constants that it was given: "silu.f32 0=256"
	Group    string
	Local    uint32 // invocations per workgroup
	Reduces  uint32 // the least subgroup that it is right in; 0: any
	Subgroup uint32 // invocations; 0: any
	Shared   int64  // bytes for each workgroup
	figures
	Statistics map[string]float64 `json:",omitempty"` // all that the driver tells, by its own names
}

// figures are what most drivers tell, each in its own units; -1 where this one does not.
type figures struct {
	Registers int // for each invocation
	Spills    int // registers, or stores of them, that went to memory
	Waves     int // subgroups that a core holds at a time
	Code      int // bytes
}

// compileAll compiles every group. The error is of kernels that do not compile; the report has the others, and is nil when
// the device tells nothing of them.
func compileAll(dev *vk.Device) (*report, error) {
	info := dev.Info()
	r := &report{Device: info.Name, Driver: info.Driver}
	var failed error
	seen := map[*vk.Kernel]bool{}
	for _, g := range groups() {
		if !strings.Contains(g.name, *only) {
			continue
		}
		if err := g.build(dev); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", g.name, err))
		}
		if err := dev.Compile(context.Background(), nil); err != nil {
			return nil, errors.Join(failed, err)
		}
		for _, k := range dev.Kernels() {
			if seen[k] {
				continue
			}
			seen[k] = true
			if err := k.Compile(); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", g.name, err))
				continue
			}
			executables, err := k.Executables()
			if err != nil {
				return nil, errors.Join(failed, err)
			}
			r.Kernels = append(r.Kernels, newRow(k, g.name, executables))
		}
	}
	return r, failed
}

// newRow describes the executable with the smallest subgroups, of several: the driver may choose it.
func newRow(k *vk.Kernel, group string, executables []vk.Executable) row {
	r := row{Kernel: k.String(), Group: group, Local: k.LocalSize()[0], Reduces: reduces(k), Shared: k.SharedMemory(), figures: normalize(nil)}
	for i, e := range executables {
		if i > 0 && e.SubgroupSize >= r.Subgroup {
			continue
		}
		r.Subgroup, r.figures, r.Statistics = e.SubgroupSize, normalize(e.Statistics), map[string]float64{}
		for _, s := range e.Statistics {
			r.Statistics[s.Name] = s.Value
		}
	}
	return r
}

// reduces is how many invocations a subgroup must have for the kernel to be right.
func reduces(k *vk.Kernel) uint32 {
	if way, _ := k.Constant(shaders.SpecSubgroups); way == shaders.OneSubgroup {
		return k.LocalSize()[0]
	}
	return 0
}

// columns says which figure a statistic of a driver belongs to: RADV's, NVK's, ANV's names.
var columns = map[string]func(*figures) *int{
	"VGPRs":              func(f *figures) *int { return &f.Registers },
	"Number of GPRs":     func(f *figures) *int { return &f.Registers },
	"Max live registers": func(f *figures) *int { return &f.Registers },
	"Spilled VGPRs":      func(f *figures) *int { return &f.Spills },
	"Spilled SGPRs":      func(f *figures) *int { return &f.Spills },
	"Spills to memory":   func(f *figures) *int { return &f.Spills },
	"Spill Count":        func(f *figures) *int { return &f.Spills },
	"Subgroups per SIMD": func(f *figures) *int { return &f.Waves },
	"Max warps/SM":       func(f *figures) *int { return &f.Waves },
	"Code size":          func(f *figures) *int { return &f.Code },
}

// normalize adds up the statistics of each figure.
func normalize(list []vk.Statistic) figures {
	f := figures{-1, -1, -1, -1}
	for _, s := range list {
		if column := columns[s.Name]; column != nil {
			p := column(&f)
			*p = max(*p, 0) + int(s.Value)
		}
	}
	return f
}

// checkSubgroups is an error that names the kernels which would give wrong results on this device.
func (r *report) checkSubgroups() error {
	var err error
	for _, k := range r.Kernels {
		if k.Subgroup < k.Reduces {
			err = errors.Join(err, fmt.Errorf("%s (%s) reduces over %d invocations, its subgroups have %d", k.Kernel, k.Group, k.Reduces, k.Subgroup))
		}
	}
	return err
}
