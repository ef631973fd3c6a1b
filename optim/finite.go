package optim

import (
	"context"
	"errors"
	"math"

	"github.com/lemnos-ml/lemnos/ops"
)

// RecordNorms appends to g, a graph of its own, the L2 norms of what the
// optimizer updates, to tell on the device whether all of it is finite. It
// returns one f32[8] output of g each for the parameters, the first moments, the
// second moments and, with 16-bit parameters, the master copies: the first value
// is the norm. A NaN or an infinity makes it NaN or infinite; so do finite values
// of which the norm is beyond f32. A gradient above 1.8e19, when nothing clips it,
// has a square beyond f32: its second moment becomes infinite and its parameter
// never moves again, which shows here and nowhere else. Errors stick to g.
func (a *AdamW) RecordNorms(g *ops.Graph) []*ops.Tensor {
	if a.banks == nil {
		g.Fail("norms", errors.New("the optimizer was released"))
		return nil
	}
	table, err := newChunkTable(a.params, a.params.All(), g.Chunk4())
	if err != nil {
		g.Fail("norms", err)
		return nil
	}
	g.Own(table.tables...)
	ctrl, scaler := g.Input("clip control", ops.F32, 8), g.Input("loss scale", ops.U32, 4)
	if g.Err() != nil {
		return nil
	}
	err = errors.Join(ops.Upload(context.Background(), ctrl, []float32{maxNormWord(nil), 0, 0, 1, 1, 0, 0, 0}),
		ops.Upload(context.Background(), scaler, []uint32{math.Float32bits(1), 0, 0, 0}))
	if err != nil {
		g.Fail("norms", err)
		return nil
	}
	kinds := make([][]*ops.Tensor, 3, 4)
	for i, b := range a.params.Banks() {
		mo := a.banks[i]
		kinds[0], kinds[1], kinds[2] = append(kinds[0], b.Values), append(kinds[1], mo.m), append(kinds[2], mo.v)
		if mo.master != nil {
			kinds = kinds[:4]
			kinds[3] = append(kinds[3], mo.master)
		}
	}
	norms := make([]*ops.Tensor, len(kinds))
	for i, arenas := range kinds {
		norms[i] = recordNorm(g, arenas, table, ctrl, scaler, false)
		g.Output(norms[i])
	}
	return norms
}
