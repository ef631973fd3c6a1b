package nn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
)

// Init is how a parameter starts: values drawn from a normal distribution. The
// zero value is zeros, Init{Mean: 1} ones.
type Init struct {
	Mean      float64
	Deviation float64 // standard deviation
	Limit     float64 // values further than so many deviations from Mean are drawn again; 0: none are
}

// Xavier is the start of a matrix (outputs, inputs) that keeps the variance of
// what goes through it, forward and backward (Glorot and Bengio 2010), cut off at
// three deviations (CS336): a deviation of √(2/(inputs+outputs)).
func Xavier(t *ops.Tensor) Init {
	var s []int
	if t != nil { // else a scalar
		s = t.Shape()
	}
	inputs, outputs := 1, 1
	if len(s) > 0 {
		inputs = s[len(s)-1]
	}
	if len(s) > 1 {
		outputs = s[len(s)-2]
	}
	return Init{Deviation: math.Sqrt(2 / float64(inputs+outputs)), Limit: 3}
}

// Initialize uploads to every parameter of p, which has memory, the values that
// start says. Each has a random stream of its own, so its values depend on seed and
// its place in p alone. For a model of one's own, say:
//
//	err := nn.Initialize(ctx, params, seed, func(t *ops.Tensor) nn.Init {
//		if len(t.Shape()) == 1 {
//			return nn.Init{Mean: 1} // weights of norms
//		}
//		return nn.Xavier(t)
//	})
func Initialize(ctx context.Context, p *ops.Params, seed uint64, start func(t *ops.Tensor) Init) error {
	if p == nil || start == nil {
		return errors.New("nn: initialize: the parameters or start is nil")
	}
	for i, t := range p.All() {
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("nn: initialize: %w", err)
		}
		how := start(t)
		if err := how.validate(); err != nil {
			return fmt.Errorf("nn: initialize %v: %w", t, err)
		}
		values := make([]float32, t.Len())
		how.fill(values, rand.New(rand.NewPCG(seed, uint64(i))))
		if most := max(slices.Max(values), -slices.Min(values)); overflows(t.DType(), most) {
			return fmt.Errorf("nn: initialize %v: mean %v and deviation %v give values of more than %s can hold", t, how.Mean, how.Deviation, t.DType())
		}
		if err := ops.Upload(ctx, t, values); err != nil {
			return fmt.Errorf("nn: initialize: %w", err)
		}
	}
	return nil
}

// overflows reports whether a positive value is infinite as dt stores it.
func overflows(dt ops.DType, v float32) bool {
	infinity := float32(math.Inf(1))
	return v == infinity || dt != ops.F32 && dt.Bits(v) == dt.Bits(infinity)
}

// leastLimit is as far as values can be cut off before drawing them takes long.
const leastLimit = 0.1

func (n Init) validate() error {
	switch {
	case math.IsNaN(n.Mean) || math.IsInf(n.Mean, 0):
		return fmt.Errorf("field Mean is %v, want a finite number", n.Mean)
	case !(n.Deviation >= 0) || math.IsInf(n.Deviation, 0):
		return fmt.Errorf("field Deviation is %v, want a finite number of at least 0", n.Deviation)
	case n.Limit != 0 && !(n.Limit >= leastLimit):
		return fmt.Errorf("field Limit is %v, want 0 or at least %v", n.Limit, leastLimit)
	}
	return nil
}

func (n Init) fill(x []float32, random *rand.Rand) {
	for i := range x {
		var z float64
		if n.Deviation > 0 {
			z = random.NormFloat64()
			for n.Limit > 0 && math.Abs(z) > n.Limit {
				z = random.NormFloat64()
			}
		}
		x[i] = float32(n.Mean + z*n.Deviation)
	}
}

// start is how the parameters of a transformer start: weights of norms are one,
// biases zero, matrices normal around zero.
//
//   - "gpt2" (Radford et al. 2019): 0.02, the projections into the residual
//     stream divided by √(2·layers), as each block adds two of them.
//   - "truncated_normal" (CS336): Xavier for linear layers and a tied table, 1 for
//     embeddings, cut off at three deviations.
func (m *Transformer) start(p *ops.Tensor) Init {
	switch {
	case len(p.Shape()) == 1 && strings.HasSuffix(p.Name(), ".weight"):
		return Init{Mean: 1}
	case len(p.Shape()) == 1:
		return Init{}
	case m.cfg.Init == "gpt2" && (strings.HasSuffix(p.Name(), "attn.output_proj.weight") || strings.HasSuffix(p.Name(), "ffn.w2.weight")):
		return Init{Deviation: 0.02 / math.Sqrt(2*float64(m.cfg.Layers))}
	case m.cfg.Init == "gpt2":
		return Init{Deviation: 0.02}
	case p == m.positions || p == m.tokens && !m.cfg.Tied:
		return Init{Deviation: 1, Limit: 3}
	}
	return Xavier(p)
}
