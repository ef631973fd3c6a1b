package opstest

import (
	"math"
	"testing"
)

func TestAdamWAgreesWithPyTorch(t *testing.T) {
	for _, c := range AdamWCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			tensors := make([]*AdamW64, c.Count)
			for j := range tensors {
				tensors[j] = NewAdamW64(c.Init(j))
			}
			samples := c.Want
			for step := 1; step <= len(c.Rates); step++ {
				for j, a := range tensors {
					if g := c.Grad(j, step); g != nil {
						a.Step(F64(g), c.Options(j, step))
					}
				}
				if len(samples) > 0 && samples[0].Step == step {
					var p, m, v []float64
					for _, a := range tensors {
						p, m, v = append(p, a.P...), append(m, a.M...), append(v, a.V...)
					}
					CheckL2(t, "p", p, samples[0].P, exact)
					CheckL2(t, "m", m, samples[0].M, exact)
					CheckL2(t, "v", v, samples[0].V, exact)
					samples = samples[1:]
				}
			}
			if len(samples) > 0 {
				t.Errorf("%d samples lie beyond the last step", len(samples))
			}
		})
	}
}

func TestClipAgreesWithPyTorch(t *testing.T) {
	for _, c := range ClipCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			grads := c.Grads()
			norm := Norm64(grads...)
			if e := RelErr(norm, c.Norm); e > exact {
				t.Errorf("norm %v, want %v", norm, c.Norm)
			}
			var all []float64
			for _, g := range grads {
				all = append(all, F64(g)...)
			}
			for _, want := range c.Clips {
				scale := ClipScale64(norm, want.MaxNorm)
				if e := RelErr(scale, want.Scale); e > exact {
					t.Errorf("max norm %v: scale %v, want %v", want.MaxNorm, scale, want.Scale)
				}
				clipped := make([]float64, len(all))
				for i, g := range all {
					clipped[i] = g * scale
				}
				CheckL2(t, "gradient", clipped, want.Grad, exact)
			}
		})
	}
}

func TestBigramAgreesWithPyTorch(t *testing.T) {
	for _, c := range BigramCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			e := NewAdamW64(c.Init())
			var losses, norms []float64
			for step := 1; step <= len(c.Rates); step++ {
				x, y := c.Batch(step)
				ce := CrossEntropy64(Embed64(e.P, x, c.V), y, c.V, CrossEntropyOptions{})
				grad := EmbedBackward64(ce.Grad, x, c.V, c.V)
				norm := Norm64(grad)
				scale := ClipScale64(norm, c.MaxNorm)
				for i := range grad {
					grad[i] *= scale
				}
				e.Step(grad, c.Options(step))
				losses, norms = append(losses, ce.Loss), append(norms, norm)
			}
			Close(t, losses, c.Losses, exact)
			Close(t, norms, c.Norms, exact)
			CheckL2(t, "e", e.P, c.E, exact)
			if last := c.Losses[len(c.Losses)-1]; last > 0.6*math.Log(float64(c.V)) {
				t.Errorf("the golden run ends at a loss of %v: it learns too little to prove anything", last)
			}
		})
	}
}
