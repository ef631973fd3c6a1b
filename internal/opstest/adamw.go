package opstest

import (
	"fmt"
	"math"
	"testing"
)

// AdamWOptions are the hyper-parameters of one step of one tensor.
type AdamWOptions struct {
	LR, Beta1, Beta2, Eps, Decay float64
	Torch                        bool // decay first, and epsilon beside sqrt(v / (1-beta2^t))
}

// AdamW64 is the reference of AdamW for one tensor: parameters and moments in float64.
type AdamW64 struct {
	P, M, V []float64
	Steps   int // steps taken
}

// NewAdamW64 returns the state of a tensor that starts as p.
func NewAdamW64[F Float](p []F) *AdamW64 {
	return &AdamW64{P: F64(p), M: make([]float64, len(p)), V: make([]float64, len(p))}
}

// Step takes one step with the gradient g. With t the steps taken, this one included:
//
//	m <- beta1 m + (1-beta1) g        v <- beta2 v + (1-beta2) g^2
//	document: p <- p - lr sqrt(1-beta2^t)/(1-beta1^t) m/(sqrt(v)+eps);  p <- p - lr decay p
//	torch:    p <- p - lr decay p;  p <- p - lr/(1-beta1^t) m/(sqrt(v)/sqrt(1-beta2^t)+eps)
func (a *AdamW64) Step(g []float64, o AdamWOptions) {
	a.Steps++
	correction1 := 1 - math.Pow(o.Beta1, float64(a.Steps))
	correction2 := math.Sqrt(1 - math.Pow(o.Beta2, float64(a.Steps)))
	for i, e := range g {
		a.M[i] = o.Beta1*a.M[i] + (1-o.Beta1)*e
		a.V[i] = o.Beta2*a.V[i] + (1-o.Beta2)*e*e
		if o.Torch {
			a.P[i] -= o.LR * o.Decay * a.P[i]
			a.P[i] -= o.LR / correction1 * a.M[i] / (math.Sqrt(a.V[i])/correction2 + o.Eps)
			continue
		}
		a.P[i] -= o.LR * correction2 / correction1 * a.M[i] / (math.Sqrt(a.V[i]) + o.Eps)
		a.P[i] -= o.LR * o.Decay * a.P[i]
	}
}

// AdamWCase is a golden trajectory of PyTorch's float64 AdamW (Variant "torch") or the specification's ("document") over
// Count tensors. Concatenated, the tensors after step Want[i].Step have the parameters and moments of Want[i].
type AdamWCase struct {
	Name      string        `json:"name"`
	Variant   string        `json:"variant"`
	Count     int           `json:"count"`
	GradDType string        `json:"grad_dtype"` // storage of the gradients; the parameters are f32
	Groups    []AdamWGroup  `json:"groups"`     // tensor j belongs to group j % len(Groups)
	Rates     []float64     `json:"rates"`      // learning rate of each step
	Want      []AdamWSample `json:"want"`

	// Read through the methods Size, Init and Grad.
	Sizes      []int    `json:"sizes"`
	Exponents  []int    `json:"exponents"`
	Stream     uint32   `json:"stream"`
	GradStream uint32   `json:"grad_stream"`
	Skips      [][2]int `json:"skips"`
}

// AdamWGroup are the hyper-parameters of a parameter group. Its learning rate is Rate times that of the step.
type AdamWGroup struct {
	Rate  float64    `json:"rate"`
	Betas [2]float64 `json:"betas"`
	Eps   float64    `json:"eps"`
	Decay float64    `json:"decay"`
}

// AdamWSample is the state of all tensors, concatenated, after a step (the first is 1).
type AdamWSample struct {
	Step int    `json:"step"`
	P    Golden `json:"p"`
	M    Golden `json:"m"`
	V    Golden `json:"v"`
}

// AdamWCases returns the golden cases of optim/testdata/adamw.json.
func AdamWCases(t testing.TB) []AdamWCase {
	t.Helper()
	return load[AdamWCase](t, "optim", "testdata", "adamw.json")
}

// String returns a name for a subtest.
func (c AdamWCase) String() string { return fmt.Sprintf("%s %s %s", c.Name, c.Variant, c.GradDType) }

// Size returns the number of values of tensor j.
func (c AdamWCase) Size(j int) int { return c.Sizes[j%len(c.Sizes)] }

// Init returns the parameters that tensor j starts with.
func (c AdamWCase) Init(j int) []float32 { return Uniform(c.Stream+uint32(j), c.Size(j), 1) }

// Grad returns the gradient of tensor j in a step (from 1), rounded to GradDType; nil: the tensor has none in that step.
func (c AdamWCase) Grad(j, step int) []float32 {
	for _, s := range c.Skips {
		if s == [2]int{j, step} {
			return nil
		}
	}
	limit := float32(math.Ldexp(1, c.Exponents[j%len(c.Exponents)]))
	return Round(c.GradDType, Uniform(Hash(c.GradStream+uint32(j), uint32(step)), c.Size(j), limit))
}

// Options returns the hyper-parameters of tensor j in a step (from 1).
func (c AdamWCase) Options(j, step int) AdamWOptions {
	g := c.Groups[j%len(c.Groups)]
	return AdamWOptions{LR: c.Rates[step-1] * g.Rate, Beta1: g.Betas[0], Beta2: g.Betas[1], Eps: g.Eps, Decay: g.Decay,
		Torch: c.Variant == "torch"}
}
