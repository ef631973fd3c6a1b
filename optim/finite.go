package optim

import "github.com/lemnos-ml/lemnos/ops"

// RecordNorms appends to g, a graph of its own, the L2 norms of what the
// optimizer updates, to tell on the device whether all of it is finite. It
// returns f32[8] outputs of g, of which the first value is a norm: one for the
// parameters, then one for each moment of each rule, then, with 16-bit parameters,
// one for the master copies. A NaN or an infinity makes it NaN or infinite; so do
// finite values of which the norm is beyond f32. A gradient above 1.8e19, when
// nothing clips it, has a square beyond f32: AdamW's second moment becomes infinite
// and the parameter never moves again, which shows here and nowhere else. Errors
// stick to g.
func (a *Optimizer) RecordNorms(g *ops.Graph) []*ops.Tensor {
	if err := a.live(); err != nil {
		g.Fail("norms", err)
		return nil
	}
	ctrl := constant(g, "no clipping", []float32{maxNormWord(nil), 0, 0, 1, 1, 0, 0, 0}, 8)
	scaler := constant(g, "no loss scale", []float32{1, 0, 0, 0}, 4)
	var values, masters []*ops.Tensor
	for _, b := range a.banks {
		values = append(values, b.Values)
	}
	kinds := [][]*ops.Tensor{values}
	for _, r := range a.rules {
		for i := range r.Moments() {
			var arenas []*ops.Tensor
			for _, p := range a.parts {
				if p.rule == r {
					arenas = append(arenas, p.moments[i])
				}
			}
			kinds = append(kinds, arenas)
		}
	}
	for _, p := range a.parts {
		if p.master != nil {
			masters = append(masters, p.master)
		}
	}
	if masters != nil {
		kinds = append(kinds, masters)
	}
	var norms []*ops.Tensor
	for _, arenas := range kinds {
		var all []measured
		for _, t := range arenas { // whole: between the tensors are zeros
			c := new(chunks)
			c.add(0, t.Len()/4, 0, 0, g.Updater().Chunk4())
			g.Fail("norms", c.alloc(g))
			all = append(all, measured{t, c})
		}
		if g.Err() != nil {
			return nil
		}
		norm := recordNorm(g, all, ctrl, scaler, false)
		g.Output(norm)
		norms = append(norms, norm)
	}
	return norms
}
