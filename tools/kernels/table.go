package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/lemnos-ml/lemnos/shaders"
)

// table writes all kernels, and last how many there are of note.
func (r *report) table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "registers\tspills\tshared\twaves\tsubgroup\tlocal\tcode\t  kernel, first used by")
	for _, k := range r.Kernels {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%d\t%s\t  %s, %s\n", figure(k.Registers), figure(k.Spills), k.Shared, figure(k.Waves),
			figure(int(k.Subgroup)), k.Local, figure(k.Code), k.Kernel, k.Group)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	spills, few := r.counts()
	_, err := fmt.Fprintf(out, "%s, %s: %d kernels, %d spill, %d leave at most %d waves\n", r.Device, r.Driver, len(r.Kernels), spills, few, fewWaves)
	return err
}

// figure is a number, or a dash for one that the driver does not tell.
func figure(n int) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// fewWaves is how many subgroups at a time hide little of the memory's latency.
const fewWaves = 2

// counts returns how many of the kernels that the device chooses spill, and how many leave few waves.
func (r *report) counts() (spills, few int) {
	for _, k := range r.chosen() {
		if k.Spills > 0 {
			spills++
		}
		if k.fewWaves() {
			few++
		}
	}
	return spills, few
}

// chosen lists the kernels that the device chooses somewhere.
func (r *report) chosen() []row {
	return slices.DeleteFunc(slices.Clone(r.Kernels), func(k row) bool { return k.Group == otherDevices })
}

func (r *row) fewWaves() bool { return r.Waves >= 0 && r.Waves <= fewWaves }

// named is a report of a file.
type named struct {
	name string
	report
}

// markdown compares reports: a line for each, then one for each kernel that spills where it is chosen, the worst first.
func markdown(out io.Writer, list []named) error {
	var b strings.Builder
	fmt.Fprintf(&b, "| | driver | kernels | spill | at most %d waves |\n|---|---|---|---|---|\n", fewWaves)
	rows := map[string][]*row{} // by kernel, of each report
	for i := range list {
		spills, few := list[i].counts()
		for j := range list[i].Kernels {
			k := &list[i].Kernels[j]
			key := k.comparable()
			if rows[key] == nil {
				rows[key] = make([]*row, len(list))
			}
			rows[key][i] = k
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d |\n", list[i].name, list[i].Driver, len(list[i].Kernels), spills, few)
	}
	b.WriteString("\n| kernel |")
	for _, n := range list {
		fmt.Fprintf(&b, " %s |", n.name)
	}
	fmt.Fprintf(&b, "\n|---%s|\n", strings.Repeat("|---", len(list)))
	for _, kernel := range worst(rows) {
		fmt.Fprintf(&b, "| %s |", kernel)
		for _, k := range rows[kernel] {
			if k == nil {
				b.WriteString(" |")
				continue
			}
			fmt.Fprintf(&b, " %s/%s/%s |", figure(k.Registers), figure(k.Spills), figure(k.Waves))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// comparable is the kernel without the constant that depends on the device, and those that its name tells.
func (r *row) comparable() string {
	return strings.Join(slices.DeleteFunc(strings.Fields(r.Kernel), func(f string) bool {
		id, _, constant := strings.Cut(f, "=")
		return constant && slices.Contains([]string{fmt.Sprint(shaders.SpecSubgroups), fmt.Sprint(shaders.SpecBf16), fmt.Sprint(shaders.SpecToBf16)}, id)
	}), " ")
}

// worst lists the kernels that spill on a device that chooses them, those that spill most first.
func worst(rows map[string][]*row) []string {
	spills := map[string]int{}
	var list []string
	for kernel, devices := range rows {
		for _, k := range devices {
			if k != nil && k.Group != otherDevices {
				spills[kernel] += max(k.Spills, 0)
			}
		}
		if spills[kernel] > 0 {
			list = append(list, kernel)
		}
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(spills[b]-spills[a], strings.Compare(a, b)) })
	return list
}
