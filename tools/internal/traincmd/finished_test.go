//go:build unix

package traincmd

import (
	"os"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

// Where nothing could be saved is said before anything is read: here the data are gone.
func TestUnwritableFolder(t *testing.T) {
	const folder = "/proc" // in which the owner of all can't write either
	if _, err := os.Stat(folder); err != nil {
		t.Skip(err)
	}
	p := newToolRun(t, "").process("-data", "gone.txt", "-ckpt_dir", folder).start()
	p.ends(command.Failed, patience)
	if said := p.errors.String(); !strings.Contains(said, "train: folder of the run: write to "+folder) {
		t.Errorf("it says %q", said)
	}
}

// A run that has come to its last step is left as it is, and one that can't go on is
// refused before its data are read: here they are gone.
func TestWhatHasNothingToDoReadsNoData(t *testing.T) {
	r := newToolRun(t, "-total_steps 5")
	r.process().start().ends(0, patience)
	before := contents(t, r.folder())
	for _, c := range []struct {
		more   string
		status int
		want   string
	}{
		{"-total_steps 5", 0, "the run is at step 5 already, nothing to do: total_steps is 5"},
		{"-total_steps 3 -lr_max 1", 0, "the run is at step 5 already, nothing to do: total_steps is 3"},
		{"-total_steps 9 -seed 7", command.Failed, "seed is 1, want 7"},
		{"-total_steps 9 -batch_size 7", command.Failed, "batch_size is 2, want 7"},
		{"-total_steps 9", command.Failed, "gone.txt"},
	} {
		p := r.process(append(strings.Fields(c.more), "-data", "gone.txt")...).start()
		p.ends(c.status, patience)
		if out := p.out.String() + p.errors.String(); !strings.Contains(out, c.want) || strings.Contains(out, "done:") {
			t.Errorf("%s: it says %q, want %q", c.more, out, c.want)
		}
		if after := contents(t, r.folder()); after != before {
			t.Errorf("%s: the folder was changed from\n%s to\n%s", c.more, before, after)
		}
	}
}
