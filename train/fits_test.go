package train

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

func TestMemoryPlanFits(t *testing.T) {
	plan := MemoryPlan{Parameters: 100, Gradients: 100, Optimizer: 200, Tokens: 50, Activations: 400, Inputs: 20, Evaluation: 30, Other: 5, Host: 60}
	if plan.Total() != 905 {
		t.Fatalf("total is %d, want 905", plan.Total())
	}
	for _, c := range []struct {
		kind   vk.Kind
		memory uint64
		want   []string // nil: it fits
	}{
		{vk.Discrete, 905, nil},
		{vk.Discrete, 904, []string{"905 bytes", "a card has 904", "activations", "batch_size"}},
		{vk.Integrated, 965, nil},
		{vk.Integrated, 964, []string{"965 bytes", "a card has 964"}},
	} {
		err := plan.fits(vk.Info{Name: "a card", Kind: c.kind, Memory: c.memory})
		if (err == nil) != (c.want == nil) || err != nil && !errors.Is(err, vk.ErrOutOfMemory) {
			t.Errorf("%+v: error is %v", c, err)
		}
		for _, want := range c.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: error is %v, want it to say %q", c, err, want)
			}
		}
	}
}

// shaped is a model that has parameters of all kinds and no loss.
type shaped struct{ params *ops.Params }

func (s shaped) Params() *ops.Params                                   { return s.params }
func (s shaped) Loss(*ops.Graph, *ops.Tensor, *ops.Tensor) *ops.Tensor { return nil }

// withTables tells its embeddings too.
type withTables struct{ shaped }

func (w withTables) Embeddings() []*ops.Tensor { return []*ops.Tensor{w.params.ByName("tokens")} }

func TestNoDecay(t *testing.T) {
	params := ops.NewParams(vktest.Open(t), ops.F32)
	params.Add("tokens", 8, 4)
	params.Add("norm", 4)
	params.Add("w", 4, 4)
	params.Add("bias", 4)
	model := withTables{shaped{params}}
	c := DefaultConfig()
	for noDecay, want := range map[string]string{"none": "tokens norm w bias", "vectors": "tokens w|norm bias", "vectors+embeddings": "w|tokens norm bias"} {
		c.NoDecay = noDecay
		groups, err := c.groups(model)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, g := range groups {
			var names []string
			for _, p := range g.Params {
				names = append(names, p.Name())
			}
			got = append(got, strings.Join(names, " "))
			if decay := []float64{c.WeightDecay, 0}[i]; g.WeightDecay != decay || g.LR != c.LRMax || g.Beta1 != c.Betas[0] || g.Beta2 != c.Betas[1] || g.Eps != c.Eps {
				t.Errorf("%s: group %d has %+v, want a decay of %v", noDecay, i, g.Hyper, decay)
			}
		}
		if !slices.Equal(got, strings.Split(want, "|")) {
			t.Errorf("%s: groups %q, want %q", noDecay, got, want)
		}
	}
	c.NoDecay = "vectors+embeddings"
	if _, err := c.groups(model.shaped); err == nil || !strings.Contains(err.Error(), "no_decay") {
		t.Errorf("a model without Embeddings: %v, want an error that names no_decay", err)
	}
}
