package ops_test

import (
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// Each operation has its own row; bytes are those of its arguments, FLOPs those of the formula.
func TestCounts(t *testing.T) {
	dev := vktest.OpenWith(t, &vk.Options{CompileOnly: true})
	const batch, n, heads, size, d = 2, 24, 4, 8, 32 // d = heads·size
	g := ops.NewGraph(dev)
	x, w, ids := g.Input("x", ops.F32, batch, n, heads, size), g.Input("w", ops.F32, 100, d), g.Input("ids", ops.U32, batch, n)
	g.RequireGrad(x)
	y := g.Attention(x, x, x, nil)
	z := g.Attention(y, x, x, &ops.AttentionOptions{Window: 10})
	z = g.Attention(z, x, x, &ops.AttentionOptions{Mask: g.Input("mask", ops.F32, n, n)})
	row := g.Add(g.View(z, batch, n, d), g.Embed(w, ids))
	loss := g.CrossEntropy(g.Linear(row, w, nil), ids, nil)
	g.Backward(loss, nil)
	g.Output(loss)
	g.Output(g.Grad(x))
	s, err := g.Compile()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	pairs := func(seen int) int64 { return 2 * int64(batch*heads*size*seen) } // FLOPs of a product for each
	causal, window := n*(n+1)/2, 10*11/2+(n-10)*10
	state := int64(batch * n * d * 4)
	want := map[string]ops.OpCount{
		"attention":          {Dispatches: 3, FLOPs: 2 * pairs(causal+window+n*n), Bytes: -1},
		"attention backward": {Dispatches: 6, FLOPs: 7 * pairs(causal+window+n*n), Bytes: -1},
		"add":                {Dispatches: 1, Bytes: 3 * state},
		"embed":              {Dispatches: 2, Bytes: 2*batch*n*4 + 3*16 + 16 + 2*state},
		"linear backward":    {Dispatches: -1, FLOPs: 2 * batch * n * d * 100, Bytes: -1}, // d x alone: w is no parameter
	}
	var sum ops.OpCount
	for _, c := range s.Counts() {
		sum.Dispatches, sum.Barriers = sum.Dispatches+c.Dispatches, sum.Barriers+c.Barriers
		w, known := want[c.Op]
		if !known {
			continue
		}
		delete(want, c.Op)
		if w.Dispatches >= 0 && c.Dispatches != w.Dispatches || c.FLOPs != w.FLOPs || w.Bytes >= 0 && c.Bytes != w.Bytes {
			t.Errorf("%+v, want %+v", c, w)
		}
	}
	for op := range want {
		t.Errorf("no %s", op)
	}
	if st := s.Stats(); sum.Dispatches != st.Dispatches || sum.Barriers != st.Barriers || st.Barriers == 0 {
		t.Errorf("%d dispatches and %d barriers in all, the step has %+v", sum.Dispatches, sum.Barriers, st)
	}
}

// The least is what an operation shares with others: not what stays inside of it, nor what it reads more often than once.
func TestCountsLeast(t *testing.T) {
	dev := vktest.OpenWith(t, &vk.Options{CompileOnly: true})
	const n, d, v = 256, 64, 1000 // so few rows that no product is cut into parts of them, whose sums are operations of their own
	p := ops.NewParams(dev, ops.F32)
	w := p.Add("w", v, d)
	if err := p.Reserve(); err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	g := ops.NewGraph(dev)
	x, ids := g.Input("x", ops.F32, n, d), g.Input("ids", ops.U32, n)
	h := g.Scale(g.Scale(x, 2), 3)
	loss := g.LinearCrossEntropy(h, w, ids, nil)
	g.Backward(loss, &ops.BackwardOptions{})
	g.Output(loss)
	s, err := g.Compile()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	counts := map[string]ops.OpCount{}
	for _, c := range s.Counts() {
		counts[c.Op] = c
	}
	if c, size := counts["scale"], int64(4*n*d); c.Times != 2 || c.Dispatches != 2 || c.Bytes != 4*size || c.Least != 2*size {
		t.Errorf("two scales in a row: %+v, want the first's input and the second's result", c)
	}
	head, logits := counts["linear cross-entropy"], int64(4*n*v)
	most := int64(4 * (n*d + 2*v*d + n)) // hidden, weight and its gradient, targets
	if head.Times >= head.Dispatches || head.Least < most || head.Least > most+1024 || head.Bytes < head.Least+4*logits {
		t.Errorf("%+v, want %d bytes at least and up to 1024 more, for numbers", head, most)
	}
}
