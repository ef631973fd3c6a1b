package optim_test

import (
	"math"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// The kernels of a rule can't take the numbers of another: a group keeps rule and parameters, whatever becomes of
// those that New got and Groups returns.
func TestGroupsKeepRuleAndParameters(t *testing.T) {
	dev := vktest.Open(t)
	for name, change := range map[string]func(g *optim.Group){
		"":                   func(g *optim.Group) { g.LR, g.WeightDecay = 0.5, 0.1 },
		"no rule":            func(g *optim.Group) { g.Rule = nil },
		"another rule":       func(g *optim.Group) { g.Rule = optim.Lion{} },
		"another order":      func(g *optim.Group) { g.Rule = optim.AdamW{Torch: true} },
		"a new group":        func(g *optim.Group) { *g = optim.Group{Hyper: optim.Hyper{LR: 0.1}} },
		"fewer parameters":   func(g *optim.Group) { g.Params = g.Params[:1] },
		"another's in place": func(g *optim.Group) { g.Params[0] = g.Params[1] },
	} {
		p := newParams(t, dev, ops.F32, opstest.Uniform(1, 15, 1), opstest.Uniform(2, 15, 1))
		limit := 1e9
		o := &optim.Options{MaxNorm: &limit, Groups: []optim.Group{{Params: slices.Clone(p.All()), Hyper: optim.Hyper{LR: 0.1}}}}
		a := newOptimizer(t, p, o)
		o.Groups[0].Params[0], o.Groups[0].Rule, limit = nil, nil, math.NaN() // the caller's
		r := record(t, a, dev)
		setGrads(t, p, [][]float32{opstest.Uniform(3, 15, 1), opstest.Uniform(4, 15, 1)})
		r.run(t)
		change(&a.Groups()[0])
		if name == "" {
			r.run(t)
			continue
		}
		wantError(t, name, r.Stage(r.step), "optim: group 0 has another rule or other parameters than when New made its state: change its Hyper alone, or make a new optimizer")
	}
}
