package train

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// schedules are the learning rates that a configuration may name. To add one: its
// name and a function.
var schedules = []struct {
	name string
	make func(Config) optim.Schedule
}{
	{"cosine", func(c Config) optim.Schedule {
		return optim.Cosine{Max: c.LRMax, Min: c.LRMin, Warmup: c.WarmupIters, End: c.lastIter()}
	}},
	{"linear", func(c Config) optim.Schedule {
		return optim.WSD{Max: c.LRMax, Min: c.LRMin, Warmup: c.WarmupIters, Decay: c.WarmupIters, End: c.lastIter()}
	}},
	{"wsd", func(c Config) optim.Schedule {
		decay := max(c.WarmupIters, c.lastIter()-cmp.Or(c.DecayIters, c.lastIter()/5))
		return optim.WSD{Max: c.LRMax, Min: c.LRMin, Warmup: c.WarmupIters, Decay: decay, End: c.lastIter()}
	}},
	{"constant", func(c Config) optim.Schedule {
		return optim.WSD{Max: c.LRMax, Min: c.LRMax, Warmup: c.WarmupIters, Decay: c.lastIter(), End: c.lastIter()}
	}},
}

func scheduleNames() (names []string) {
	for _, s := range schedules {
		names = append(names, s.name)
	}
	return names
}

// lastIter is the step at which the learning rate has fallen.
func (c Config) lastIter() int64 { return cmp.Or(c.CosineIters, c.TotalSteps) }

// schedule is the learning rate that the configuration asks for.
func (c Config) schedule() optim.Schedule {
	for _, s := range schedules {
		if s.name == c.Schedule {
			return s.make(c)
		}
	}
	return optim.Constant(c.LRMax) // Validate refuses other names
}

// scheduleChange says that a step has another learning rate than it would have had
// with the configuration before, and why; "" where it has not.
func (c Config) scheduleChange(before Config, step int64) string {
	is, was := c.schedule().At(step), before.schedule().At(step)
	if is == was {
		return ""
	}
	return fmt.Sprintf("the learning rate goes on at %.4g, not at %.4g: %s; the new schedule holds from here on", is, was,
		c.changes(before, "schedule", "total_steps", "cosine_iters", "warmup_iters", "decay_iters", "lr_max", "lr_min"))
}

// stepChange says which of the settings that a step depends on, the learning rate's
// apart, are others than in the configuration before; "" where none is.
func (c Config) stepChange(before Config) string {
	changed := c.changes(before, "adamw", "muon_lr", "betas", "eps", "weight_decay", "no_decay", "grad_clip_norm", "dropout")
	if changed == "" {
		return ""
	}
	return changed + "; the new values hold from here on"
}

// changes says which of the named fields are others than in the configuration before.
func (c Config) changes(before Config, names ...string) string {
	var changed []string
	for _, name := range names {
		f, _ := fieldOf(name)
		if is, was := f.get(c), f.get(before); is != was {
			changed = append(changed, fmt.Sprintf("%s is %v and was %v", name, is, was))
		}
	}
	return strings.Join(changed, ", ")
}

// earlierConfig has what a checkpoint meant that was written before there were rules
// and schedules to choose from; other fields it has.
func earlierConfig() Config {
	return Config{Optimizer: "adamw", Schedule: "cosine", MuonLR: DefaultConfig().MuonLR}
}

func ruleNames() (names []string) {
	for _, r := range optim.Rules() {
		names = append(names, r.Name())
	}
	return names
}

// rule is that of all parameters, or with muon of the rest.
func (c Config) rule() optim.Rule {
	if r, err := optim.RuleByName(c.Optimizer); err == nil && c.Optimizer != "adamw" && c.Optimizer != "muon" {
		return r
	}
	return optim.AdamW{Torch: c.AdamW == "torch"}
}

// leastState is how many moments the rule has of each parameter, at least.
func (c Config) leastState() int {
	r, err := optim.RuleByName(c.Optimizer)
	if err != nil {
		return 0 // Validate refuses other names
	}
	return len(r.Moments())
}

// followRule makes the fields that are not set those of the rule that is asked for,
// where before that was another: rates as far apart as the rules' defaults, a decay
// that shrinks parameters as much per step, and the rule's betas.
func (c *Config) followRule(before Config, set map[string]bool) {
	was, is := before.rule().Defaults(), c.rule().Defaults()
	if c.Optimizer == before.Optimizer || was == is {
		return
	}
	ratio := is.LR / was.LR
	if !set["lr_max"] {
		c.LRMax *= ratio
	}
	if !set["lr_min"] {
		c.LRMin *= ratio
	}
	if !set["weight_decay"] {
		c.WeightDecay /= ratio
	}
	if !set["betas"] {
		c.Betas = Betas{is.Beta1, is.Beta2}
	}
}

// embedder is implemented by models that can tell which of their parameters are
// tables that tokens or positions are looked up in; a head tied to one is one.
type embedder interface {
	Embeddings() []*ops.Tensor
}

// hidden is implemented by models that can tell which of their parameters are the
// matrices of hidden layers.
type hidden interface {
	HiddenMatrices() []*ops.Tensor
}

// Grouper is a [Model] that divides its parameters into groups itself, such as by
// set, with rules and hyper-parameters of their own.
type Grouper interface {
	// Groups returns groups with the learning rates that they have where the
	// schedule has c.LRMax; it scales them all. Parameters in none are not updated.
	// A Rule may be one of the caller's own.
	Groups(c Config) ([]optim.Group, error)
}

// groups are the model's own, or else the parameters that weight decay shrinks, those that NoDecay spares,
// and with muon the matrices that it takes, which are decayed as much per step.
func (c Config) groups(m Model) ([]optim.Group, error) {
	if own, ok := m.(Grouper); ok {
		return c.ownGroups(own)
	}
	var table, matrix map[*ops.Tensor]bool
	if c.NoDecay == "vectors+embeddings" {
		e, ok := m.(embedder)
		if !ok {
			return nil, fmt.Errorf("train: no_decay is %q, but a model of type %T has no method Embeddings to name them", c.NoDecay, m)
		}
		var err error
		if table, err = named(m, "Embeddings", e.Embeddings()); err != nil {
			return nil, err
		}
	}
	if c.Optimizer == "muon" {
		h, ok := m.(hidden)
		if !ok {
			return nil, fmt.Errorf("train: optimizer is %q, but a model of type %T has no method HiddenMatrices to name what that is for", c.Optimizer, m)
		}
		var err error
		if matrix, err = named(m, "HiddenMatrices", h.HiddenMatrices()); err != nil {
			return nil, err
		}
	}
	exact := func(v float64) float64 { return cmp.Or(v, optim.Zero) }
	decays := optim.Group{Rule: c.rule(), Hyper: optim.Hyper{LR: c.LRMax, Beta1: exact(c.Betas[0]), Beta2: exact(c.Betas[1]), Eps: exact(c.Eps), WeightDecay: c.WeightDecay}}
	spared := decays
	spared.WeightDecay = 0
	whole := optim.Group{Rule: optim.Muon{}, Hyper: optim.Hyper{LR: c.MuonLR}}
	if c.MuonLR > 0 {
		whole.WeightDecay = c.WeightDecay * c.LRMax / c.MuonLR
	}
	for _, t := range trained(m) {
		switch {
		case matrix[t]:
			whole.Params = append(whole.Params, t)
		case c.NoDecay != "none" && len(t.Shape()) < 2 || table[t]:
			spared.Params = append(spared.Params, t)
		default:
			decays.Params = append(decays.Params, t)
		}
	}
	var groups []optim.Group
	for _, g := range []optim.Group{decays, spared, whole} {
		if len(g.Params) > 0 {
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// ownGroups are the model's, unless with them nothing would move.
func (c Config) ownGroups(m Grouper) ([]optim.Group, error) {
	groups, err := m.Groups(c)
	switch i := slices.IndexFunc(groups, func(g optim.Group) bool { return g.LR == 0 && c.LRMax != 0 }); {
	case err != nil:
		return nil, err
	case len(groups) == 0:
		return nil, fmt.Errorf("train: Groups of a model of type %T returned none, so no parameter would be updated", m)
	case i >= 0:
		return nil, fmt.Errorf("train: group %d of a model of type %T has a learning rate of 0: set its Hyper.LR, to that of the configuration (LRMax) or another (optim.Zero for 0)", i, m)
	}
	if i := slices.IndexFunc(groups, func(g optim.Group) bool { return g.LR != 0 && c.LRMax == 0 }); i >= 0 {
		return nil, fmt.Errorf("train: lr_max is 0, and the rate of group %d falls with it: want a positive number", i)
	}
	return groups, nil
}

// named is the set of parameters of m that its method returned.
func named(m Model, method string, list []*ops.Tensor) (map[*ops.Tensor]bool, error) {
	set := map[*ops.Tensor]bool{}
	for _, t := range list {
		if !slices.ContainsFunc(paramSets(m), func(p *ops.Params) bool { return slices.Contains(p.All(), t) }) {
			return nil, fmt.Errorf("train: %s of a model of type %T names %v, which is none of its parameters", method, m, t)
		}
		set[t] = true
	}
	return set, nil
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
