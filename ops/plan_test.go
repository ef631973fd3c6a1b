package ops_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// What Plan says is what Compile allocates, to the byte, and nothing before.
func TestPlan(t *testing.T) {
	dev := vktest.Open(t)
	w := newTower(t, dev, ops.BF16)
	before := dev.Stats()
	g := ops.NewGraph(dev)
	x, y := g.Input("x", ops.BF16, towerRows, towerWidth), g.Input("y", ops.I32, towerRows)
	loss := g.CrossEntropy(g.MatMulNT(w.all(g, x), w.head), y, nil)
	g.Backward(loss, nil)
	g.Output(loss)
	status := dev.Stats().BufferBytes - before.BufferBytes // the graph has its flags already
	plan, err := g.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if got := dev.Stats().BufferBytes - before.BufferBytes; got != status || plan.Owned != status {
		t.Errorf("after Plan the graph holds %d bytes, %d before it and %d planned", got, status, plan.Owned)
	}
	again, err := g.Plan()
	if err != nil || again != plan {
		t.Errorf("planned again: %+v, %v, want %+v", again, err, plan)
	}
	s := compile(t, g)
	after := dev.Stats()
	if got, want := after.BufferBytes-before.BufferBytes, plan.Arena+plan.Inputs+plan.Owned; got != want {
		t.Errorf("%d bytes on the device, planned %+v, which is %d", got, plan, want)
	}
	if got := after.HostBytes - before.HostBytes; got != plan.Host {
		t.Errorf("%d bytes on the host, planned %d", got, plan.Host)
	}
	if st := s.Stats(); st.ArenaBytes != plan.Arena || st.IOBytes != plan.Inputs+plan.Host {
		t.Errorf("%+v, planned %+v", st, plan)
	}
}

func TestPlanReportsErrors(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	g.Add(g.New(ops.F32, 2), g.New(ops.F32, 3))
	if _, err := g.Plan(); err == nil || !strings.Contains(err.Error(), "plan_test.go") {
		t.Errorf("error is %v, want that of Add", err)
	}
	now := ops.NewImmediate(dev)
	defer now.Release()
	if _, err := now.Plan(); err == nil {
		t.Error("planned an immediate graph")
	}
	g = ops.NewGraph(dev)
	g.Output(g.Scale(g.Input("x", ops.F32, 4), 2))
	if _, err := g.Plan(); err != nil {
		t.Fatal(err)
	}
	g.Scale(g.Input("z", ops.F32, 4), 2)
	if _, err := g.Compile(); err == nil || !strings.Contains(err.Error(), "compiled already") {
		t.Errorf("extended after Plan: %v", err)
	}
}

// A reserved tensor has no memory before it is used, and then zeros in it.
func TestReserve(t *testing.T) {
	dev := vktest.Open(t)
	reserve := func(n int) *ops.Tensor {
		x, err := ops.Reserve(dev, ops.F32, n)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(x.Release)
		return x
	}
	bytes := func() int64 { return dev.Stats().BufferBytes }
	if bytes() != 0 {
		t.Fatalf("%d bytes at the start", bytes())
	}
	read, written, computed, unused := reserve(100), reserve(200), reserve(4), reserve(1)
	if bytes() != 0 {
		t.Errorf("%d bytes after Reserve, want none", bytes())
	}
	if got := values(t, read); slices.ContainsFunc(got, func(v float32) bool { return v != 0 }) {
		t.Errorf("values are %v, want zeros", got)
	}
	if err := ops.Upload(ctx, written, random(ops.F32, 1, 200)); err != nil {
		t.Fatal(err)
	}
	if bytes() != 4*300 {
		t.Errorf("%d bytes for 300 values", bytes())
	}
	if got, want := values(t, written), random(ops.F32, 1, 200); !slices.Equal(got, want) {
		t.Errorf("values are %v, want %v", got, want)
	}
	g := ops.NewGraph(dev)
	g.Fill(computed, 3)
	run(t, g)
	if got := values(t, computed); !slices.Equal(got, []float32{3, 3, 3, 3}) {
		t.Errorf("values are %v, want 3 four times", got)
	}
	for _, x := range []*ops.Tensor{computed, unused} {
		x.Release()
		if err := ops.Upload(ctx, x, make([]float32, x.Len())); err == nil || !strings.Contains(err.Error(), "released") {
			t.Errorf("upload to a released tensor: %v", err)
		}
	}
	if _, err := ops.Reserve(dev, ops.F32, 0); err == nil {
		t.Error("reserved no values")
	}
}
