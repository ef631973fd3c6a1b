package optim_test

import (
	"testing"

	"github.com/lemnos-ml/lemnos/optim"
)

func TestLionGolden(t *testing.T) { goldens(t, map[string]optim.Rule{"lion": optim.Lion{}}, 1e-6) }

func TestLion(t *testing.T) {
	test := ruleTest{
		rule: optim.Lion{}, shapes: [][]int{{33}, {3, 5}, {20, 50}, {1}}, tol: 1e-6,
		groups: []optim.Hyper{{LR: 1e-2, WeightDecay: 0.1}, {LR: 2e-3, Beta1: 0.95, Beta2: 0.98}},
		step: func(w, g []float64, m [][]float64, _ []int, h optim.Hyper) {
			for i := range w {
				c := h.Beta1*m[0][i] + (1-h.Beta1)*g[i]
				w[i] -= h.LR * h.WeightDecay * w[i]
				switch {
				case c > 0:
					w[i] -= h.LR
				case c < 0:
					w[i] += h.LR
				}
				m[0][i] = h.Beta2*m[0][i] + (1-h.Beta2)*g[i]
			}
		},
	}
	test.test(t)
}
