package ops_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// smallAllocations is a device that gives out 16 MiB at a time.
var smallAllocations = vktest.Limits{Allocation: 16 << 20}

// wideStep is a forward and backward pass with several activations of 4 MiB, run
// once; it returns the loss and the gradients.
func wideStep(t *testing.T, dev *vk.Device) (bits []float32, stats ops.StepStats) {
	t.Helper()
	const layers, rows, width = 6, 8192, 128
	p := ops.NewParams(dev, ops.F32)
	for i := range layers {
		p.Add(fmt.Sprint(i), width, width)
	}
	if err := p.Alloc(); err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	g := ops.NewGraph(dev)
	x, y := g.Input("x", ops.F32, rows, width), g.Input("y", ops.I32, rows)
	h := x
	for i, w := range p.All() {
		if err := ops.Upload(ctx, w, random(ops.F32, uint32(i), w.Len())); err != nil {
			t.Fatal(err)
		}
		h = g.SiLU(g.Linear(h, w, nil))
	}
	loss := g.CrossEntropy(h, y, nil)
	g.Backward(loss, nil)
	g.Output(loss)
	if err := errors.Join(ops.Upload(ctx, x, random(ops.F32, 99, x.Len())), ops.Upload(ctx, y, opstest.IDs(98, rows, width))); err != nil {
		t.Fatal(err)
	}
	plan, err := g.Plan()
	if err != nil {
		t.Fatal(err)
	}
	before := dev.Stats().BufferBytes
	s := run(t, g)
	if got := dev.Stats().PeakBytes - before; got != plan.Arena+plan.Inputs+p.Banks()[0].Grads.Bytes() {
		t.Errorf("%d bytes allocated, planned %+v and gradients", got, plan)
	}
	bits = values(t, loss)
	for _, w := range p.All() {
		bits = append(bits, values(t, p.Grad(w))...)
	}
	return bits, s.Stats()
}

// An arena above what the device gives at once is several buffers, and the
// results are the same to the last bit.
func TestArenaInSeveralBuffers(t *testing.T) {
	vktest.Limit(t, vktest.Limits{})
	want, one := wideStep(t, vktest.Open(t))
	vktest.Limit(t, smallAllocations)
	dev := vktest.Open(t)
	got, split := wideStep(t, dev)
	if !slices.Equal(got, want) {
		t.Error("an arena in several buffers gives other results")
	}
	if limit := int64(dev.Info().Caps.MaxAllocation); limit > 16<<20 || one.ArenaBytes < 3*limit {
		t.Fatalf("an arena of %d bytes on a device that gives %d at once", one.ArenaBytes, limit)
	}
	if split.ArenaBytes > one.ArenaBytes*5/4 {
		t.Errorf("%d bytes in several buffers, %d in one", split.ArenaBytes, one.ArenaBytes)
	}
	t.Logf("%d bytes in several buffers, %d in one", split.ArenaBytes, one.ArenaBytes)
}

// What is too large for one buffer is refused where it is made.
func TestTensorAboveTheAllocationLimit(t *testing.T) {
	vktest.Limit(t, smallAllocations)
	dev := vktest.Open(t)
	limit := fmt.Sprint(dev.Info().Caps.MaxAllocation)
	const rows, width = 1 << 10, 1<<12 + 4
	size := fmt.Sprint(4 * rows * width)
	for name, build := range map[string]func(*ops.Graph) error{
		"embed": func(g *ops.Graph) error {
			table := tensor[float32](t, dev, ops.F32, []int{2, width}, nil)
			ids := g.Input("ids", ops.I32, rows)
			g.Output(g.CrossEntropy(g.Embed(table, ids), ids, nil))
			_, err := g.Compile()
			return err
		},
		"new tensor": func(g *ops.Graph) error {
			_, err := ops.NewTensor(dev, ops.F32, rows, width)
			return err
		},
		"params": func(g *ops.Graph) error {
			p := ops.NewParams(dev, ops.F32)
			p.Add("params", rows, width)
			return p.Alloc()
		},
	} {
		g := ops.NewGraph(dev)
		err := build(g)
		g.Release()
		if !errors.Is(err, vk.ErrOutOfMemory) {
			t.Errorf("%s: error %v", name, err)
			continue
		}
		for _, want := range []string{name, "f32[1024 4100]", size, limit} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q does not say %q", name, err, want)
			}
		}
		if name == "embed" && !strings.Contains(err.Error(), "arena_test.go:") {
			t.Errorf("%s: error %q does not say where", name, err)
		}
	}
}

// A parameter set above the limit is several arenas, and all of it is used.
func TestParamsAboveTheAllocationLimit(t *testing.T) {
	vktest.Limit(t, smallAllocations)
	dev := vktest.Open(t)
	p := ops.NewParams(dev, ops.F32)
	for i := range 7 {
		p.Add(fmt.Sprint(i), 1024, 1024)
	}
	if err := p.Alloc(); err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	if n := len(p.Banks()); n != 3 {
		t.Errorf("%d arenas for 28 MiB, want 3 of three tensors each at most", n)
	}
	g := ops.NewGraph(dev)
	for i, w := range p.All() {
		g.Fill(w, float32(i))
	}
	run(t, g)
	for i, w := range p.All() {
		if v := values(t, w); slices.Min(v) != float32(i) || slices.Max(v) != float32(i) {
			t.Errorf("parameter %d has values from %v to %v", i, slices.Min(v), slices.Max(v))
		}
	}
}

// Inputs and outputs above the limit together are several blocks, in flight too.
func TestInputsAboveTheAllocationLimit(t *testing.T) {
	vktest.Limit(t, smallAllocations)
	dev := vktest.Open(t)
	const n = 1 << 20 // 4 MiB
	g := ops.NewGraph(dev)
	var xs, ys []*ops.Tensor
	for i := range 5 {
		xs = append(xs, g.Input(fmt.Sprint(i), ops.F32, n))
		ys = append(ys, g.Scale(xs[i], 2))
		g.Output(ys[i])
	}
	plan, err := g.Plan()
	if err != nil {
		t.Fatal(err)
	}
	before := dev.Stats()
	s := compile(t, g)
	after := dev.Stats()
	if host, device := after.HostBytes-before.HostBytes, after.BufferBytes-before.BufferBytes; host != plan.Host || device != plan.Arena+plan.Inputs {
		t.Errorf("%d bytes on the host and %d on the device, planned %+v", host, device, plan)
	}
	for run := range 4 {
		for i, x := range xs {
			if err := ops.Upload(ctx, x, slices.Repeat([]float32{float32(10*run + i)}, n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		for i, y := range ys {
			if v := values(t, y); slices.Min(v) != float32(60+2*i) || slices.Max(v) != float32(60+2*i) {
				t.Errorf("output %d has values from %v to %v, want %d", i, slices.Min(v), slices.Max(v), 60+2*i)
			}
		}
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check()
}
