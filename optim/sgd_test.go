package optim_test

import (
	"fmt"
	"testing"

	"github.com/lemnos-ml/lemnos/optim"
)

func TestSGDGolden(t *testing.T) {
	goldens(t, map[string]optim.Rule{"sgd": optim.SGD{}, "sgd nesterov": optim.SGD{Nesterov: true}}, 1e-6)
}

func TestSGD(t *testing.T) {
	for _, nesterov := range []bool{false, true} {
		t.Run(fmt.Sprint("nesterov ", nesterov), func(t *testing.T) {
			test := ruleTest{
				rule: optim.SGD{Nesterov: nesterov}, shapes: [][]int{{33}, {3, 5}, {20, 50}, {1}}, tol: 1e-6,
				groups: []optim.Hyper{{LR: 0.1, WeightDecay: 0.01}, {LR: 0.02, Beta1: optim.Zero}},
				step: func(w, g []float64, m [][]float64, _ []int, h optim.Hyper) {
					for i := range w {
						d := g[i] + h.WeightDecay*w[i]
						m[0][i] = h.Beta1*m[0][i] + d
						if nesterov {
							w[i] -= h.LR * (d + h.Beta1*m[0][i])
						} else {
							w[i] -= h.LR * m[0][i]
						}
					}
				},
			}
			test.test(t)
		})
	}
}
