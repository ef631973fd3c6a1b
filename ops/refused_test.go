package ops_test

import (
	"errors"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// lookup is a step that reads the rows of a table that ids name, and an output of a
// tensor that outlives it.
type lookup struct {
	ids, rows, sum, kept *ops.Tensor
	step                 *ops.Step
}

func newLookup(t *testing.T, dev *vk.Device) lookup {
	g := ops.NewGraph(dev)
	l := lookup{ids: g.Input("ids", ops.I32, 1), kept: tensor(t, dev, ops.F32, []int{1}, []float32{8})}
	l.rows = g.Embed(tensor(t, dev, ops.F32, []int{3, 1}, []float32{5, 6, 7}), l.ids)
	l.sum = g.Scale(l.rows, 2)
	g.Output(l.rows)
	g.Output(l.sum)
	g.Output(l.kept)
	l.step = compile(t, g)
	return l
}

func (l lookup) run(t *testing.T, id int32) {
	t.Helper()
	must(t, ops.Upload(ctx, l.ids, []int32{id}))
	must(t, l.step.Run())
}

// reads are the ways to read what a run of l left.
func (l lookup) reads() map[string]func() (float32, error) {
	var v [1]float32
	return map[string]func() (float32, error){
		"Item":             func() (float32, error) { return ops.Item(ctx, l.rows) },
		"Item of another":  func() (float32, error) { v, err := ops.Item(ctx, l.sum); return v / 2, err },
		"Download":         func() (float32, error) { err := ops.Download(ctx, l.rows, v[:]); return v[0], err },
		"Completed":        func() (float32, error) { _, err := ops.Completed(l.step, l.rows, v[:]); return v[0], err },
		"Completed (kept)": func() (float32, error) { _, err := ops.Completed(l.step, l.kept, v[:]); return v[0] - 2, err }, // for the value 6
		"Wait":             func() (float32, error) { return 6, l.step.Wait(ctx) },
	}
}

func wantBadIndex(t *testing.T, what string, err error, value int64) {
	t.Helper()
	if bad, ok := errors.AsType[*ops.BadIndexError](err); !ok || bad.Value != value || bad.Op != "embed" {
		t.Errorf("%s: error %v, want index %d of embed", what, err, value)
	}
}

// A run with a bad index has an error for everyone who reads it, however and as often
// as they read, until a run that went well; whoever reads first, that is the next one.
func TestReadsOfARefusedRun(t *testing.T) {
	dev := vktest.Open(t)
	l := newLookup(t, dev)
	for first, read := range l.reads() {
		l.run(t, 1)
		must(t, l.step.Wait(ctx))
		l.run(t, 9)
		must(t, dev.Wait(ctx))
		_, err := read()
		wantBadIndex(t, first+" of the refused run", err, 9)
		for range 2 {
			for name, read := range l.reads() {
				_, err := read()
				wantBadIndex(t, name+" after "+first, err, 9)
			}
		}
		l.run(t, 1)
		for name, read := range l.reads() {
			if name == "Completed" || name == "Completed (kept)" {
				must(t, dev.Wait(ctx))
			}
			if v, err := read(); err != nil || v != 6 {
				t.Errorf("%s of the run after the one that %s reported: %v, %v, want 6", name, first, v, err)
			}
		}
	}
	l.run(t, 9)
	must(t, l.step.Close())
	for name, read := range l.reads() {
		_, err := read()
		wantBadIndex(t, name+" after Close", err, 9)
	}
}

// Behind a bad run those in flight are refused, bad ones and good ones, with the first
// index; Completed, which does not wait, is no report.
func TestReadsBehindARefusedRun(t *testing.T) {
	dev := vktest.Open(t)
	l := newLookup(t, dev)
	for _, behind := range []int32{1, 8} {
		l.run(t, 9)
		l.run(t, behind)
		must(t, dev.Wait(ctx))
		n, err := ops.Completed(l.step, l.rows, make([]float32, 1))
		wantBadIndex(t, "Completed", err, 9)
		if n != l.step.Runs() {
			t.Errorf("Completed is of run %d, want %d", n, l.step.Runs())
		}
		l.run(t, 1)
		_, err = ops.Item(ctx, l.rows)
		wantBadIndex(t, "Item behind it", err, 9)
		wantBadIndex(t, "Wait behind it", l.step.Wait(ctx), 9)
		l.run(t, 8)
		_, err = ops.Item(ctx, l.rows)
		wantBadIndex(t, "Item of another bad run", err, 8)
		l.run(t, 2)
		if v, err := ops.Item(ctx, l.rows); err != nil || v != 7 {
			t.Errorf("the good run after it: %v, %v, want 7", v, err)
		}
		must(t, l.step.Wait(ctx))
	}
}

// A step that heeds another is refused with it, and reports as that does: what one has
// told, the next run of the other is not stopped by, nor does it lose what comes after.
func TestReadsOfAHeedingStep(t *testing.T) {
	dev := vktest.Open(t)
	table := tensor(t, dev, ops.F32, []int{3, 1}, []float32{5, 6, 7})
	g := ops.NewGraph(dev)
	ids := g.Input("ids", ops.I32, 1)
	row := g.Embed(table, ids)
	g.Output(row)
	h := ops.NewGraph(dev)
	h.Updater().Heed(g)
	more := h.Input("more", ops.I32, 1)
	after := h.Scale(table, 3)
	h.Output(after)
	h.Output(h.Embed(table, more))
	pass, apply := compile(t, g), compile(t, h)
	run := func(id, other int32) {
		t.Helper()
		must(t, ops.Upload(ctx, ids, []int32{id}))
		must(t, ops.Upload(ctx, more, []int32{other}))
		must(t, pass.Run())
		must(t, apply.Run())
	}
	read := func() error { return ops.Download(ctx, after, make([]float32, 3)) }
	for range 2 {
		run(9, 0)
		wantBadIndex(t, "Download of the second step", read(), 9)
		wantBadIndex(t, "Wait of the first", pass.Wait(ctx), 9)
		wantBadIndex(t, "Download of the second step", read(), 9)
		run(1, 0)
		must(t, read())
		must(t, pass.Wait(ctx))
		run(1, 7) // the second step's own
		must(t, pass.Wait(ctx))
		wantBadIndex(t, "Wait of the second", apply.Wait(ctx), 7)

		must(t, ops.Upload(ctx, ids, []int32{9}))
		must(t, pass.Run())
		must(t, apply.Run())
		wantBadIndex(t, "Wait of the first", pass.Wait(ctx), 9)
		must(t, ops.Upload(ctx, ids, []int32{8}))
		must(t, pass.Run())                                                 // another one,
		wantBadIndex(t, "Wait of the second, of the run before", read(), 9) // that this does not lose
		must(t, ops.Upload(ctx, ids, []int32{1}))
		must(t, pass.Run())
		wantBadIndex(t, "Wait of the first", pass.Wait(ctx), 8)
		run(1, 0)
		must(t, errors.Join(read(), pass.Wait(ctx)))
	}
	must(t, apply.Close())
}

// What an operation that failed at once would have computed can't be read.
func TestReadsOfARefusedOperation(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewImmediate(dev)
	defer g.Release()
	x := tensor(t, dev, ops.F32, []int{2, 3}, make([]float32, 6))
	bad := tensor(t, dev, ops.I32, []int{2}, []int32{0, 3})
	for name, y := range map[string]*ops.Tensor{
		"cross-entropy": g.CrossEntropy(x, bad, nil),
		"after it":      g.Scale(x, 2),
	} {
		if err := ops.Download(ctx, y, make([]float32, y.Len())); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	h := ops.NewImmediate(dev)
	defer h.Release()
	if err := ops.Download(ctx, h.Embed(x, bad), make([]float32, 6)); err == nil {
		t.Error("embed: no error")
	}
}
