package train

import (
	"cmp"
	"fmt"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// embedder is implemented by models that can tell which of their parameters are
// tables that tokens or positions are looked up in; a head tied to one is one.
type embedder interface {
	Embeddings() []*ops.Tensor
}

// groups are the parameters that weight decay shrinks, and those that NoDecay
// spares.
func (c Config) groups(m Model) ([]optim.Group, error) {
	table := map[*ops.Tensor]bool{}
	if c.NoDecay == "vectors+embeddings" {
		e, ok := m.(embedder)
		if !ok {
			return nil, fmt.Errorf("train: no_decay is %q, but a model of type %T has no method Embeddings to name them", c.NoDecay, m)
		}
		for _, t := range e.Embeddings() {
			table[t] = true
		}
	}
	exact := func(v float64) float64 { return cmp.Or(v, optim.Zero) }
	decays := optim.Group{Rule: optim.AdamW{Torch: c.AdamW == "torch"}, Hyper: optim.Hyper{LR: c.LRMax, Beta1: exact(c.Betas[0]), Beta2: exact(c.Betas[1]), Eps: exact(c.Eps), WeightDecay: c.WeightDecay}}
	spared := decays
	spared.WeightDecay = 0
	for _, t := range trained(m) {
		if c.NoDecay != "none" && len(t.Shape()) < 2 || table[t] {
			spared.Params = append(spared.Params, t)
		} else {
			decays.Params = append(decays.Params, t)
		}
	}
	var groups []optim.Group
	for _, g := range []optim.Group{decays, spared} {
		if len(g.Params) > 0 {
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// trained lists the parameters that are not frozen.
func trained(m Model) (all []*ops.Tensor) {
	for _, p := range paramSets(m) {
		if !p.Frozen() {
			all = append(all, p.All()...)
		}
	}
	return all
}
