package train

import (
	"math"
	"strings"
	"testing"
)

func TestOutlookFits(t *testing.T) {
	for _, c := range []struct {
		o             Outlook
		warning, fail string
	}{
		{Outlook{Checkpoint: 10, Disk: 40, Free: 40}, "", ""},
		{Outlook{Checkpoint: 10, Disk: 40, Free: 39}, "take up to 40 bytes, and the disk of runs/a has 39 free", ""},
		{Outlook{Checkpoint: 10, Disk: 40, Free: 9}, "", "a checkpoint takes 10 bytes, and the disk of runs/a has 9 free"},
	} {
		warning, err := c.o.fits("runs/a")
		if (warning == "") != (c.warning == "") || !strings.Contains(warning, c.warning) || (err == nil) != (c.fail == "") || err != nil && !strings.Contains(err.Error(), c.fail) {
			t.Errorf("%+v: %q, %v", c, warning, err)
		}
	}
}

func TestSaturated(t *testing.T) {
	for bytes, want := range map[float64]int64{0: 0, 1e15: 1e15, 1e19: math.MaxInt64, math.MaxInt64: math.MaxInt64} {
		if got := saturated(bytes); got != want {
			t.Errorf("%v bytes: %d, want %d", bytes, got, want)
		}
	}
}
