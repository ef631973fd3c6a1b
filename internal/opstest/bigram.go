package opstest

import (
	"fmt"
	"testing"
)

// BigramCase is a golden training run of a bigram model (logits = E[token], E of shape (V, V)): cross-entropy, clipping to
// MaxNorm, AdamW. Losses and Norms (before clipping) are those of each step, E the parameters after the last.
type BigramCase struct {
	Variant string     `json:"variant"` // of AdamW: "document" or "torch"
	V       int        `json:"v"`
	B       int        `json:"b"`
	M       int        `json:"m"` // context length
	MaxNorm float64    `json:"max_norm"`
	Betas   [2]float64 `json:"betas"`
	Eps     float64    `json:"eps"`
	Decay   float64    `json:"decay"`
	Rates   []float64  `json:"rates"` // learning rate of each step
	Losses  []float64  `json:"losses"`
	Norms   []float64  `json:"norms"`
	E       Golden     `json:"e"`

	// Read through the methods Init and Batch.
	Stream      uint32  `json:"stream"`
	Range       float32 `json:"range"`
	TokenStream uint32  `json:"token_stream"`
	NoiseStream uint32  `json:"noise_stream"`
}

// BigramCases returns the golden cases of optim/testdata/bigram.json.
func BigramCases(t testing.TB) []BigramCase {
	t.Helper()
	return load[BigramCase](t, "optim", "testdata", "bigram.json")
}

// String returns a name for a subtest.
func (c BigramCase) String() string { return fmt.Sprintf("%s max_norm=%v", c.Variant, c.MaxNorm) }

// Init returns E before the first step.
func (c BigramCase) Init() []float32 { return Uniform(c.Stream, c.V*c.V, c.Range) }

// Batch returns the tokens and targets, (B, M) each, of a step (from 1). The target of a token x is (5x+3) mod V, but any token
// at every fourth position.
func (c BigramCase) Batch(step int) (x, y []int32) {
	n := c.B * c.M
	x = IDs(c.TokenStream+uint32(step), n, c.V)
	y = IDs(c.NoiseStream+uint32(step), n, c.V)
	for i := range y {
		if i%4 != 0 {
			y[i] = (5*x[i] + 3) % int32(c.V)
		}
	}
	return x, y
}

// Options returns the hyper-parameters of a step (from 1).
func (c BigramCase) Options(step int) AdamWOptions {
	return AdamWOptions{LR: c.Rates[step-1], Beta1: c.Betas[0], Beta2: c.Betas[1], Eps: c.Eps, Decay: c.Decay,
		Torch: c.Variant == "torch"}
}
