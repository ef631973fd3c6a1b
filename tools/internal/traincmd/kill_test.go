//go:build unix

package traincmd

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// kills is how often TestKilledAtRandom ends a process; docs/reliability.md has
// the figures of 1,000.
func kills() int {
	n, err := strconv.Atoi(os.Getenv("LEMNOS_TEST_KILLS"))
	if err != nil {
		return 8
	}
	return n
}

// TestKilledAtRandom starts a run again and again and ends it at random moments,
// by signals and with its output gone. No checkpoint is ever lost, and when the
// run gets to its end it has the bits of one that nobody disturbed.
func TestKilledAtRandom(t *testing.T) {
	const arguments = "-total_steps 400 -ckpt_every 3 -keep 2 -log_every 5 -eval_every 20 "
	whole := newToolRun(t, arguments)
	whole.process("-run_name", "first").start().ends(0, patience) // compiles the kernels
	started := time.Now()
	whole.process().start().ends(0, patience)
	took := time.Since(started)
	want, wantLosses := whole.state(), whole.losses()

	random := rand.New(rand.NewPCG(1, uint64(kills())))
	ways := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT}
	count := map[string]int{}
	r := newToolRun(t, arguments)
	runs, last := 0, int64(0)
	for done := 0; done < kills() || last > 0; {
		p := r.process()
		way, gone := ways[random.IntN(len(ways))], random.IntN(2) == 0
		// From before the process has opened the device to past the middle of the run.
		after := time.Duration(random.Float64() * float64(took) * 0.6)
		if done >= kills() {
			after = patience
		}
		var from *os.File
		if gone {
			var to *os.File
			var err error
			if from, to, err = os.Pipe(); err != nil {
				t.Fatal(err)
			}
			p.Stdout, p.Stderr = to, to
			p.start()
			to.Close()
			time.AfterFunc(time.Duration(random.Float64()*float64(after)), func() { from.Close() })
		} else {
			p.start()
		}
		timer := time.AfterFunc(after, func() { p.Process.Signal(way) })
		select {
		case <-p.exited:
		case <-time.After(2 * patience):
			t.Fatalf("%v after %v: it does not end\n%s%s", way, after, p.out.String(), p.errors.String())
		}
		killed := !timer.Stop()
		status := p.ProcessState.ExitCode()
		if killed {
			done++
			count[way.String()]++
		}
		if gone {
			count["output gone"]++
		}
		step := r.saved()
		if step < last {
			t.Fatalf("%v after %v: the newest checkpoint is of step %d, after that of step %d", way, after, step, last)
		}
		// A signal that comes before the tool listens ends it as ever.
		ended := status == 0 || killed && (status == command.Interrupted || status == -1)
		if !ended {
			t.Fatalf("%v after %v: status %d\n%s%s", way, after, status, p.out.String(), p.errors.String())
		}
		count["saves interrupted"] += len(r.leftovers())
		if last = step; status != 0 {
			continue
		}
		same(t, r.state(), want)
		if got := r.losses(); !maps.Equal(got, wantLosses) {
			t.Errorf("the metrics of run %d are\n%v, want\n%v", runs, got, wantLosses)
		}
		runs, last = runs+1, 0
		if err := os.RemoveAll(r.folder()); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			break
		}
	}
	if count["saves interrupted"] == 0 && kills() > 100 {
		t.Error("no save was interrupted: the test shows too little")
	}
	t.Logf("an undisturbed run takes %v; %d runs got to their end; %v", took.Round(time.Millisecond), runs, count)
}

// state reads every tensor of the last checkpoint, and the optimizer's counters.
func (r *toolRun) state() map[string]string {
	r.Helper()
	path, _, err := train.Latest(r.folder())
	if err != nil {
		r.Fatal(err)
	}
	f, err := safetensors.OpenVerified(path)
	if err != nil {
		r.Fatal(err)
	}
	defer f.Close()
	all := map[string]string{"optimizer": f.Meta()["optimizer"], "iteration": f.Meta()["iteration"]}
	for _, name := range f.Names() {
		tensor, err := f.Open(name)
		if err != nil {
			r.Fatal(err)
		}
		raw, err := io.ReadAll(tensor)
		if err != nil {
			r.Fatal(err)
		}
		all[name] = string(raw)
	}
	return all
}

func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name := range want {
		if got[name] != want[name] || len(got) != len(want) {
			t.Errorf("%s differs from that of the run that nobody disturbed", name)
		}
	}
}

// losses are the measured losses of the metrics, by name and step. A step may
// have two records, when its evaluation was interrupted.
func (r *toolRun) losses() map[string]float64 {
	r.Helper()
	records, err := train.ReadMetrics(filepath.Join(r.folder(), "metrics.jsonl"))
	if err != nil {
		r.Fatal(err)
	}
	all := map[string]float64{}
	for _, m := range records {
		for name, v := range map[string]*float64{"loss": m.Loss, "val_loss": m.ValLoss} {
			if v == nil {
				continue
			}
			key := fmt.Sprint(name, " ", m.Step)
			if _, twice := all[key]; twice {
				r.Errorf("two records have %s", key)
			}
			all[key] = *v
		}
	}
	return all
}

// leftovers are the files that a killed process was writing.
func (r *toolRun) leftovers() []string {
	entries, err := os.ReadDir(r.folder())
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".tmp") })
}
