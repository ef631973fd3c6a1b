package opstest

import (
	"fmt"
	"testing"
)

// RuleCase is a golden trajectory of one matrix under an update rule, in float64: P and M are the matrix and its first
// moment after the last step.
type RuleCase struct {
	Rule  string     `json:"rule"` // "sgd", "sgd nesterov", "lion" or "muon"
	Rows  int        `json:"rows"`
	Cols  int        `json:"cols"`
	Steps int        `json:"steps"`
	LR    float64    `json:"lr"`
	Betas [2]float64 `json:"betas"`
	Decay float64    `json:"decay"`
	P     Golden     `json:"p"`
	M     Golden     `json:"m"`

	Stream uint32 `json:"stream"` // read through Init and Grad
}

// RuleCases returns the golden cases of optim/testdata/rules.json.
func RuleCases(t testing.TB) []RuleCase {
	t.Helper()
	return load[RuleCase](t, "optim", "testdata", "rules.json")
}

// String returns a name for a subtest.
func (c RuleCase) String() string { return fmt.Sprintf("%s %dx%d", c.Rule, c.Rows, c.Cols) }

// Init returns the matrix before the first step.
func (c RuleCase) Init() []float32 { return Uniform(c.Stream, c.Rows*c.Cols, 1) }

// Grad returns the gradient of a step, from 0.
func (c RuleCase) Grad(step int) []float32 {
	return Uniform(c.Stream+1+uint32(step), c.Rows*c.Cols, 0.25)
}
