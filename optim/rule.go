package optim

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
)

// Rule is how a step turns gradients into new values. The rest of a step is the
// same for every rule and none of its business: accumulating, loss scaling, the
// norm over all parameters, clipping, the decision to skip, counting steps,
// master copies. Rules are comparable values.
//
// To add one that handles each value by itself, as [Lion] does: a kernel with
// the arguments that [Part.Elementwise] gives it, a file with the type, and
// [Register]. A program does the same with a kernel of its own, see [Part.Dispatch].
type Rule interface {
	// Name is what configurations, checkpoints and errors call the rule.
	Name() string
	// Moments lists what the rule remembers of each value of a parameter, f32
	// numbers that are 0 before the first step.
	Moments() []Moment
	// Defaults returns the hyper-parameters that the rule is usually run with; of
	// those that it does not have, 0.
	Defaults() Hyper
	// Numbers returns what the rule's kernel reads of a group in a step: seven
	// numbers that follow from h, with the learning rate of the step, and two that
	// depend on t ≥ 1 as well, how many steps a tensor has taken with this one.
	// Float64 until here.
	Numbers(h Hyper, t int64) (fixed [7]float64, step [2]float64)
	// Record appends the update of p to g.
	Record(g *ops.Graph, p *Part)
}

// Moment is one number that a rule remembers of each value.
type Moment struct {
	Name  string // in checkpoints, such as "m"
	Title string // in errors, such as "first moment"
}

// rules are those that [RuleByName] finds.
var rules []Rule

// Register makes a rule known by its name: configurations may ask for it, and
// checkpoints that it trained be read without its optimizer; package train writes none
// of others. Call it when the program starts, once for each rule:
//
//	var _ = optim.Register(Adagrad{})
//
// It returns r, and panics where the name is empty or another rule's.
func Register(r Rule) Rule {
	if _, err := RuleByName(r.Name()); err == nil || r.Name() == "" {
		panic(fmt.Sprintf("optim: register: the name %q of a %T is empty or another rule's", r.Name(), r))
	}
	rules = append(rules, r)
	return r
}

// Rules returns the rules that are registered, without their options.
func Rules() []Rule { return rules }

// RuleByName returns the rule of a name, or an error that lists all names.
func RuleByName(name string) (Rule, error) {
	var names []string
	for _, r := range rules {
		if r.Name() == name {
			return r, nil
		}
		names = append(names, r.Name())
	}
	return nil, fmt.Errorf("optim: no rule %q, want %s", name, strings.Join(names, " or "))
}

// matrixRule is implemented by rules that treat a matrix as a whole: they take
// nothing else, and matrices of one shape lie one behind the other in the arenas of their moments.
type matrixRule interface{ matrices() }

// Hyper are the hyper-parameters of a group. A Beta1, Beta2 or Eps of 0 is the
// rule's default; [Zero] is 0 itself. Rules ignore what they don't have.
type Hyper struct {
	LR          float64 // learning rate α ≥ 0, set here or by SetLR; Zero for one that stays 0
	Beta1       float64 // decay of the first moment, or momentum, in [0, 1)
	Beta2       float64 // decay of the second moment, in [0, 1)
	Eps         float64 // ε ≥ 0, added to the root of the second moment
	WeightDecay float64 // λ ≥ 0; decoupled (the parameter shrinks by α·λ per step) unless the rule says otherwise
}

// Zero asks for a Beta1, Beta2 or Eps of 0, which the fields of [Hyper] take for
// their default, or an LR of 0, which they take for one that was forgotten. It is the
// smallest positive number: no step differs from one with 0.
const Zero = math.SmallestNonzeroFloat64

// DefaultHyper returns AdamW's: α = 1e-3, β = (0.9, 0.95), ε = 1e-8, λ = 0.
func DefaultHyper() Hyper { return AdamW{}.Defaults() }

// or returns h with the defaults d in place of fields that stand for theirs.
func (h Hyper) or(d Hyper) Hyper {
	h.Beta1, h.Beta2, h.Eps = cmp.Or(h.Beta1, d.Beta1), cmp.Or(h.Beta2, d.Beta2), cmp.Or(h.Eps, d.Eps)
	return h
}

// Validate returns an error that names the first impossible field and its value.
func (h Hyper) Validate() error {
	for _, f := range []struct {
		name  string
		v     float64
		limit float64
	}{{"LR", h.LR, math.MaxFloat32}, {"Beta1", h.Beta1, 1}, {"Beta2", h.Beta2, 1}, {"Eps", h.Eps, math.MaxFloat32}, {"WeightDecay", h.WeightDecay, math.MaxFloat32},
		// The largest numbers that a step has of them, which are f32:
		{"LR/(1-Beta1)", h.LR / (1 - h.or(DefaultHyper()).Beta1), math.MaxFloat32}, {"LR*WeightDecay", h.LR * h.WeightDecay, math.MaxFloat32}} {
		if !(f.v >= 0 && f.v < f.limit) { // NaN fails too
			return fmt.Errorf("optim: %s is %v, want a number in [0, %v)", f.name, f.v, f.limit)
		}
	}
	return nil
}

// Group is a list of parameters with a rule and hyper-parameters of their own.
type Group struct {
	Params []*ops.Tensor
	Rule   Rule // nil: that of the options
	Hyper
}

// checkRule refuses a rule that its methods or the search for rules of one kind would panic of.
func checkRule(r Rule) error {
	switch v := reflect.ValueOf(r); {
	case v.Kind() == reflect.Pointer && v.IsNil():
		return fmt.Errorf("the rule is a nil %T", r)
	case !v.Comparable():
		return fmt.Errorf("rule %s is a %T, which can't be compared: make it a struct of plain fields", r.Name(), r)
	}
	return nil
}

// checkGroups checks the groups as the caller of Groups has left them.
func (a *Optimizer) checkGroups() error {
	for i, gr := range a.groups {
		if gr.Rule != a.fixed[i].Rule || !slices.Equal(gr.Params, a.fixed[i].Params) {
			return fmt.Errorf("optim: group %d has another rule or other parameters than when New made its state: change its Hyper alone, or make a new optimizer", i)
		}
		if err := gr.Hyper.Validate(); err != nil {
			return fmt.Errorf("%w (group %d)", err, i)
		}
	}
	return nil
}
