package benchcmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

// earlier is what -json wrote of a run before: what -compare holds this one against.
type earlier struct {
	head
	file  string
	nanos map[string]float64 // by name and shape, of rows that were right
	met   bool               // a row of this run is among them
}

// readEarlier reads the file of -compare; nil without one.
func readEarlier(name string) (*earlier, error) {
	if name == "" {
		return nil, nil
	}
	file, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("bench: -compare: %w", err)
	}
	e := &earlier{file: name, nanos: map[string]float64{}}
	for line := range bytes.Lines(file) {
		var x struct {
			head
			row
		}
		if err := json.Unmarshal(line, &x); err != nil {
			return nil, fmt.Errorf("bench: -compare: %s is not what -json writes: %w", name, err)
		}
		switch {
		case x.Device != "":
			e.head = x.head
		case x.Wrong == "" && x.Nanos > 0:
			e.nanos[x.Name+" "+x.Shape] = x.Nanos
		}
	}
	if e.Device == "" || len(e.nanos) == 0 {
		return nil, fmt.Errorf("bench: -compare: %s has no device or no times: is it what -json writes?", name)
	}
	return e, nil
}

// checkDevice refuses times of another device than this run's.
func (e *earlier) checkDevice(h head) error {
	if e == nil || e.Device == h.Device {
		return nil
	}
	return fmt.Errorf("bench: -compare: %s is of %q, this device is %q: -any-device compares even so", e.file, e.Device, h.Device)
}

// speedUp says how many times as fast a row has become; nothing where there is no time to compare with.
func (e *earlier) speedUp(name, shape string, nanos float64) string {
	if e == nil || e.nanos[name+" "+shape] == 0 {
		return ""
	}
	e.met = true
	return fmt.Sprintf("%.2fx", e.nanos[name+" "+shape]/nanos)
}

// checkMet is the error of a comparison that compared nothing.
func (e *earlier) checkMet() error {
	if e == nil || e.met {
		return nil
	}
	return fmt.Errorf("-compare: %s has none of these rows at these shapes: -size must be that of its run, here %.4g", e.file, e.MiB)
}
