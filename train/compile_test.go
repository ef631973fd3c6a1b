package train

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/train/data"
)

// Before a run allocates, the kernels of training and evaluation are compiled together, how far it is is told, and an
// ended context ends it.
func TestCompileIsTold(t *testing.T) {
	dev := vktest.Open(t)
	c := DefaultConfig()
	c.Model, c.Vocab, c.BatchSize, c.ContextLen, c.MixedPrecision = "bigram", 16, 2, 8, false
	model, err := nn.NewBigram(dev, c.Storage(), c.Vocab)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Params().Release()
	tokens := data.NewTokens(make([]uint16, 200))
	trainer, err := newTrainer(dev, c, model, tokens, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer trainer.Close()
	eval, err := newEvaluator(dev, c, model, tokens)
	if err != nil {
		t.Fatal(err)
	}
	defer eval.Close()
	if _, err := plan(trainer, eval, dev.Stats(), Hooks{}.withDefaults()); err != nil {
		t.Fatal(err)
	}
	n := dev.Stats().Kernels
	stopped, stop := context.WithCancel(t.Context())
	stop()
	before := vktest.Pipelines()
	if err := compileKernels(stopped, dev, nil); !errors.Is(err, ErrInterrupted) || vktest.Pipelines() != before {
		t.Errorf("interrupted: %v, %d kernels compiled", err, vktest.Pipelines()-before)
	}
	var told, want []Phase
	for i := range n + 1 {
		want = append(want, Phase{Name: "compiling kernels", Done: int64(i), Total: int64(n), Unit: "kernels"})
	}
	want[0].Total = 0 // not known before
	m := Hooks{Phase: func(p Phase) { told = append(told, p) }}.start("compiling kernels", 0, "kernels")
	m.Every = 0
	if err := compileKernels(t.Context(), dev, m); err != nil {
		t.Fatal(err)
	}
	if n == 0 || !slices.Equal(told, want) {
		t.Errorf("told of %d kernels:\n%v", n, told)
	}
	if err := errors.Join(trainer.compile(), eval.compile()); err != nil {
		t.Fatal(err)
	}
	if got := vktest.Pipelines() - before; got != n || dev.Stats().Kernels != n {
		t.Errorf("%d kernels made and %d compiled after allocating, before %d", dev.Stats().Kernels, got, n)
	}
}
