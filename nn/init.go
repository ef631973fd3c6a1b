package nn

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
)

// initialize draws the parameters on the host: norm weights are one, biases
// zero, matrices normal around zero. Each tensor has a stream of its own, so
// its values depend on the seed and its place alone.
func (m *Transformer) initialize(ctx context.Context, seed uint64) error {
	for i, p := range m.params.All() {
		values := make([]float32, p.Len())
		switch {
		case len(p.Shape()) == 2:
			deviation, limit := m.deviation(p)
			normal(values, rand.New(rand.NewPCG(seed, uint64(i))), deviation, limit)
		case strings.HasSuffix(p.Name(), ".weight"):
			for j := range values {
				values[j] = 1
			}
		}
		if err := ops.Upload(ctx, p, values); err != nil {
			return err
		}
	}
	return nil
}

// deviation returns the standard deviation of a matrix's values, and how many
// deviations from zero they are cut off at.
//
//   - "gpt2" (Radford et al. 2019): 0.02, the projections into the residual
//     stream divided by √(2·layers), as each block adds two of them.
//   - "truncated_normal" (CS336): √(2/(inputs+outputs)) for linear layers and a
//     tied table, 1 for embeddings, cut off at three deviations.
func (m *Transformer) deviation(p *ops.Tensor) (deviation, limit float64) {
	if m.cfg.Init == "gpt2" {
		if strings.HasSuffix(p.Name(), "attn.output_proj.weight") || strings.HasSuffix(p.Name(), "ffn.w2.weight") {
			return 0.02 / math.Sqrt(2*float64(m.cfg.Layers)), math.Inf(1)
		}
		return 0.02, math.Inf(1)
	}
	if p == m.positions || p == m.tokens && !m.cfg.Tied {
		return 1, 3
	}
	return math.Sqrt(2 / float64(p.Shape()[0]+p.Shape()[1])), 3
}

// normal fills x with values of a normal distribution, drawn again when they
// are more than limit deviations from zero.
func normal(x []float32, random *rand.Rand, deviation, limit float64) {
	for i := range x {
		z := random.NormFloat64()
		for math.Abs(z) > limit {
			z = random.NormFloat64()
		}
		x[i] = float32(z * deviation)
	}
}
