package train

import (
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
