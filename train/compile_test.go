package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/train/data"
)

// TestCompileIsLogged: before a run allocates, the kernels of training and evaluation are compiled together, how far it is
// is told, and an ended context ends it.
func TestCompileIsLogged(t *testing.T) {
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
	log := slog.New(slog.DiscardHandler)
	if err := plan(trainer, eval, dev.Stats(), Hooks{Logger: log}); err != nil {
		t.Fatal(err)
	}
	n := dev.Stats().Kernels
	stopped, stop := context.WithCancel(t.Context())
	stop()
	before := vktest.Pipelines()
	if err := compileKernels(stopped, dev, log, 0); !errors.Is(err, ErrInterrupted) || vktest.Pipelines() != before {
		t.Errorf("interrupted: %v, %d kernels compiled", err, vktest.Pipelines()-before)
	}
	var lines bytes.Buffer
	if err := compileKernels(t.Context(), dev, slog.New(slog.NewTextHandler(&lines, nil)), 0); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(lines.String(), fmt.Sprintf(" of=%d", n)); n == 0 || got != n || !strings.Contains(lines.String(), fmt.Sprintf(" done=%d of=%d", n, n)) {
		t.Errorf("%d of %d kernels were told of:\n%s", got, n, &lines)
	}
	if err := errors.Join(trainer.compile(), eval.compile()); err != nil {
		t.Fatal(err)
	}
	if got := vktest.Pipelines() - before; got != n || dev.Stats().Kernels != n {
		t.Errorf("%d kernels made and %d compiled after allocating, before %d", dev.Stats().Kernels, got, n)
	}
}
