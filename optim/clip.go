package optim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/lemnos-ml/lemnos/ops"
)

// measured is an arena with the chunks of it that a norm is taken of.
type measured struct {
	arena *ops.Tensor
	*chunks
}

// recordNorm appends the global norm of the arenas' pieces and the clipping
// decision: one dispatch for each and one for all. It returns CLIP, f32[8] of
// norm, factor for the gradients, skip flag (bits), a second factor, and the
// steps skipped so far (bits); the rest is unused.
func recordNorm(g *ops.Graph, all []measured, ctrl, scaler *ops.Tensor, dynamic bool) *ops.Tensor {
	total := 0
	for _, m := range all {
		total += min(m.len(), g.Updater().Workers())
	}
	partial := g.New(ops.U32, total, 2)
	var calls []ops.Call
	base := 0
	for _, m := range all {
		n := min(m.len(), g.Updater().Workers())
		calls = append(calls, ops.Call{Kernel: "norm." + m.arena.DType().String(), Groups: n, Push: struct{ Chunks, Base uint32 }{uint32(m.len()), uint32(base)},
			Args: []*ops.Tensor{m.table, m.arena, partial}})
		base += n
	}
	clip := g.New(ops.F32, 8)
	flags := uint32(0)
	if dynamic {
		flags = 1
	}
	calls = append(calls, ops.Call{Kernel: "clip", Groups: 1, Push: struct{ Partials, Flags uint32 }{uint32(base), flags},
		Args: []*ops.Tensor{partial, ctrl, scaler, g.Updater().Status(), clip}})
	g.Dispatch("gradient norm", calls...)
	return clip
}

// scaleGrads appends the multiplication of gradients by what clip, as recordNorm
// returns it, says.
func scaleGrads(g *ops.Graph, grads []measured, clip *ops.Tensor) {
	for _, m := range grads {
		g.Dispatch("scale gradients", ops.Call{Kernel: "gradscale." + m.arena.DType().String(), Groups: min(m.len(), g.Updater().Workers()),
			Push: struct{ Chunks uint32 }{uint32(m.len())}, Args: []*ops.Tensor{m.table, clip, m.arena}})
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
	params, err = distinct(params, func(t *ops.Tensor) bool { return p.Grad(t) != nil })
	if err != nil {
		return 0, fmt.Errorf("optim: %w", err)
	}
	if len(params) == 0 {
		return 0, errors.New("optim: the set has no parameters")
	}
	g := ops.NewGraph(p.Device())
	defer g.Release()
	grads := make([]measured, len(p.Banks()))
	for b, own := range p.Banks() {
		grads[b] = measured{own.Grads, new(chunks)}
	}
	for i, t := range params {
		b, off4, n4 := p.Place(t)
		grads[b].add(off4, n4, 0, i, g.Updater().Chunk4())
	}
	grads = slices.DeleteFunc(grads, func(m measured) bool { return m.len() == 0 })
	for _, m := range grads {
		if err := m.alloc(g); err != nil {
			return 0, err
		}
	}
	ctrl := constant(g, "clip control", []float32{maxNormWord(&maxNorm), float32(math.Inf(1)), 0, 1, 1, 0, 0, 0}, 8)
	scaler := constant(g, "no loss scale", []float32{1, 0, 0, 0}, 4)
	clip := recordNorm(g, grads, ctrl, scaler, false)
	scaleGrads(g, grads, clip)
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

// distinct drops repeated parameters and refuses those that are not known.
func distinct(params []*ops.Tensor, known func(*ops.Tensor) bool) ([]*ops.Tensor, error) {
	seen := map[*ops.Tensor]bool{}
	var out []*ops.Tensor
	for i, t := range params {
		if !known(t) {
			return nil, fmt.Errorf("parameter %d (%v) is not of this set, or the set has no memory yet or is frozen", i, t)
		}
		if !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	return out, nil
}
