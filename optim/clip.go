package optim

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/lemnos-ml/lemnos/ops"
)

// chunkTable cuts parameters into pieces for the kernels that stride over an
// arena: per bank a list of (first group of four, groups, class, tensor).
type chunkTable struct {
	tables []*ops.Tensor // per bank, u32 (chunks, 4); nil for a bank without any
	words  [][]uint32
	params []*ops.Tensor
}

// newChunkTable lays out the chunks of params, tensors of set p.
func newChunkTable(p *ops.Params, params []*ops.Tensor, chunk4 int) (*chunkTable, error) {
	c := &chunkTable{words: make([][]uint32, len(p.Banks())), params: params}
	for i, t := range params {
		bank, off, n := p.Place(t)
		for ; n > 0; off, n = off+chunk4, n-chunk4 {
			c.words[bank] = append(c.words[bank], uint32(off), uint32(min(n, chunk4)), 0, uint32(i))
		}
	}
	c.tables = make([]*ops.Tensor, len(c.words))
	for b, w := range c.words {
		if len(w) == 0 {
			continue
		}
		t, err := ops.NewTensor(p.Device(), ops.U32, len(w)/4, 4)
		if err != nil {
			c.release()
			return nil, fmt.Errorf("optim: chunk table: %w", err)
		}
		c.tables[b] = t
	}
	return c, c.upload()
}

func (c *chunkTable) upload() error {
	for b, t := range c.tables {
		if t != nil {
			if err := ops.Upload(context.Background(), t, c.words[b]); err != nil {
				return fmt.Errorf("optim: chunk table: %w", err)
			}
		}
	}
	return nil
}

// setClasses writes the class of each parameter into the table and reports
// whether any changed.
func (c *chunkTable) setClasses(class []uint32) (changed bool) {
	for _, w := range c.words {
		for i := 0; i < len(w); i += 4 {
			if n := class[w[i+3]]; w[i+2] != n {
				w[i+2], changed = n, true
			}
		}
	}
	return changed
}

func (c *chunkTable) release() {
	for _, t := range c.tables {
		t.Release()
	}
}

// chunks returns how many chunks bank b has.
func (c *chunkTable) chunks(b int) int { return len(c.words[b]) / 4 }

// recordNorm appends the global norm of the chunks' gradients and the clipping
// decision: one dispatch per bank and one for all. It returns CLIP, f32[8] of
// norm, factor for the gradients, skip flag (bits), a second factor, and the
// steps skipped so far (bits); the rest is unused.
func recordNorm(g *ops.Graph, grads []*ops.Tensor, c *chunkTable, ctrl, scaler *ops.Tensor, dynamic bool) *ops.Tensor {
	workers := g.Workers()
	var calls []ops.Call
	total := 0
	groups := make([]int, len(c.words))
	for b := range c.words {
		groups[b] = min(workers, c.chunks(b))
		total += groups[b]
	}
	partial := g.New(ops.U32, total, 2)
	base := 0
	for b, n := range groups {
		if n == 0 {
			continue
		}
		calls = append(calls, ops.Call{Kernel: "norm." + grads[b].DType().String(), Groups: n, Push: struct{ Chunks, Base uint32 }{uint32(c.chunks(b)), uint32(base)},
			Args: []*ops.Tensor{c.tables[b], grads[b], partial}})
		base += n
	}
	clip := g.New(ops.F32, 8)
	flags := uint32(0)
	if dynamic {
		flags = 1
	}
	calls = append(calls, ops.Call{Kernel: "clip", Groups: 1, Push: struct{ Partials, Flags uint32 }{uint32(base), flags},
		Args: []*ops.Tensor{partial, ctrl, scaler, g.Status(), clip}})
	g.Dispatch("gradient norm", calls...)
	return clip
}

// scaleGrads appends the multiplication of gradients by what clip, as recordNorm
// returns it, says.
func scaleGrads(g *ops.Graph, grads []*ops.Tensor, c *chunkTable, clip *ops.Tensor) {
	for b := range c.words {
		if n := c.chunks(b); n > 0 {
			g.Dispatch("scale gradients", ops.Call{Kernel: "gradscale." + grads[b].DType().String(), Groups: min(n, g.Workers()), Push: struct{ Chunks uint32 }{uint32(n)},
				Args: []*ops.Tensor{c.tables[b], clip, grads[b]}})
		}
	}
}

// checkMaxNorm refuses what the clipping rule has no meaning for.
func checkMaxNorm(v float64) error {
	if math.IsNaN(v) || v < 0 {
		return fmt.Errorf("optim: MaxNorm is %v, want a number of at least 0", v)
	}
	return nil
}

// maxNormWord is what the clip kernel reads: negative means no clipping.
func maxNormWord(v *float64) float32 {
	if v == nil || math.IsInf(*v, 1) {
		return -1
	}
	return float32(min(*v, math.MaxFloat32))
}

// ClipGradNorm clips the gradients of params (all of p's when none are named) in
// place and returns their unclipped global L2 norm:
//
//	if norm > maxNorm { every gradient *= maxNorm/(norm+1e-6) }
//
// It waits for the device. A parameter named twice counts once. A norm that is
// NaN or infinite leaves the gradients as they are and is returned. The
// gradients are taken as they lie: under loss scaling clip inside the update
// (Options.MaxNorm), which knows the scale. A maxNorm of +Inf only measures.
func ClipGradNorm(ctx context.Context, p *ops.Params, maxNorm float64, params ...*ops.Tensor) (norm float64, err error) {
	if err := checkMaxNorm(maxNorm); err != nil {
		return 0, err
	}
	if p == nil {
		return 0, errors.New("optim: no parameter set")
	}
	if len(params) == 0 {
		params = p.All()
	}
	params, err = distinct(p, params)
	if err != nil {
		return 0, err
	}
	if len(params) == 0 {
		return 0, errors.New("optim: the set has no parameters")
	}
	g := ops.NewGraph(p.Device())
	defer g.Release()
	c, err := newChunkTable(p, params, g.Chunk4())
	if err != nil {
		return 0, err
	}
	defer c.release()
	ctrl, scaler := g.Input("clip control", ops.F32, 8), g.Input("loss scale", ops.U32, 4)
	if err := g.Err(); err != nil {
		return 0, err
	}
	if err := ops.Upload(ctx, ctrl, []float32{maxNormWord(&maxNorm), float32(math.Inf(1)), 0, 1, 1, 0, 0, 0}); err != nil {
		return 0, err
	}
	if err := ops.Upload(ctx, scaler, []uint32{math.Float32bits(1), 0, 0, 0}); err != nil {
		return 0, err
	}
	clip := recordNorm(g, bankGrads(p), c, ctrl, scaler, false)
	scaleGrads(g, bankGrads(p), c, clip)
	g.Output(clip)
	step, err := g.Compile()
	if err != nil {
		return 0, err
	}
	defer step.Close()
	if err := step.Run(); err != nil {
		return 0, err
	}
	var out [8]float32
	if err := ops.Download(ctx, clip, out[:]); err != nil {
		return 0, err
	}
	return float64(out[0]), nil
}

// distinct drops repeated parameters and refuses foreign ones.
func distinct(p *ops.Params, params []*ops.Tensor) ([]*ops.Tensor, error) {
	seen := map[*ops.Tensor]bool{}
	var out []*ops.Tensor
	for i, t := range params {
		if p.Grad(t) == nil {
			return nil, fmt.Errorf("optim: parameter %d (%v) is not of this set, or the set has no memory yet", i, t)
		}
		if !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	return out, nil
}
