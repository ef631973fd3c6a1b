package ops_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// A run without the numbers of its step is refused, and nothing has run.
func TestStageEachRun(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	rate, x := g.Input("rate", ops.F32, 1), g.Input("x", ops.F32, 1)
	g.Updater().StageEachRun(rate, "Stage")
	must(t, ops.Upload(ctx, x, []float32{0}))
	y := g.Add(rate, x)
	g.Output(y)
	s := compile(t, g)
	refused := func(run string) {
		t.Helper()
		err := s.Run()
		if err == nil || !strings.Contains(err.Error(), "rate f32[1] is not staged for run "+run+": call Stage before each Run") {
			t.Errorf("run %s: %v", run, err)
		}
	}
	refused("1")
	if s.Runs() != 0 {
		t.Errorf("%d runs, want none", s.Runs())
	}
	for _, v := range []float32{1, 2} {
		if err := errors.Join(ops.Upload(ctx, rate, []float32{v}), s.Run()); err != nil {
			t.Fatal(err)
		}
		if got := values(t, y); got[0] != v {
			t.Errorf("result %v, want %v", got, v)
		}
	}
	refused("3")
	bad := ops.NewGraph(dev)
	bad.Updater().StageEachRun(bad.New(ops.F32, 1), "Stage")
	if _, err := bad.Compile(); err == nil || !strings.Contains(err.Error(), "not an input") {
		t.Errorf("an intermediate to be staged: %v", err)
	}
}

// Late calls return errors or do nothing, whatever was closed first.
func TestStepAfterDeviceClose(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	x := g.Input("x", ops.F32, 4)
	y := g.Scale(x, 2)
	g.Output(y)
	must(t, ops.Upload(ctx, x, []float32{1, 2, 3, 4}))
	s, err := g.Compile()
	if err := errors.Join(err, s.Run(), dev.Close()); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if _, err := ops.Completed(s, y, make([]float32, 4)); err == nil {
			t.Errorf("pass %d: Completed without a device", i)
		}
		if err := ops.Download(ctx, y, make([]float32, 4)); err == nil {
			t.Errorf("pass %d: Download without a device", i)
		}
		if err := s.Run(); err == nil {
			t.Errorf("pass %d: Run without a device", i)
		}
		s.Close()
		s.Stats()
	}
}
