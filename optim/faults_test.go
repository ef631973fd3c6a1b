package optim_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// TestFaultsTraining fails each allocation, creation, submission and wait of three training steps in turn: graph,
// backward, compile, AdamW, replay.
func TestFaultsTraining(t *testing.T) {
	cache := t.TempDir()
	vktest.EveryFault(t, 5, func() error { return trainingSteps(cache) })
}

// TestMapFailuresInTraining: a mapping that fails is done without.
func TestMapFailuresInTraining(t *testing.T) {
	cache := t.TempDir()
	vktest.EveryMapFailure(t, func() error { return trainingSteps(cache) })
}

// TestTrainingOnSmallMappings trains where memory is seen through a small window.
func TestTrainingOnSmallMappings(t *testing.T) {
	vktest.Limit(t, vktest.Limits{Mapping: 1 << 20})
	if err := trainingSteps(t.TempDir()); err != nil {
		t.Error(err)
	}
}

// trainingSteps trains a bigram table of 16 tokens for three steps with AdamW, clipping and loss scaling, and
// checks that the loss falls from that of a uniform guess.
func trainingSteps(cache string) (err error) {
	d, err := vk.Open(&vk.Options{CacheDir: cache})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := d.Close(); err == nil {
			err = closeErr
		}
	}()
	ctx := context.Background()
	const vocabulary, b, m = 16, 4, 8
	p := ops.NewParams(d, ops.BF16)
	table := p.Add("table", vocabulary, vocabulary)
	if err := p.Alloc(); err != nil {
		return err
	}
	defer p.Release()
	text := make([]uint16, 400)
	for i := range text {
		text[i] = uint16(3 * i % vocabulary)
	}
	tokens, err := ops.NewTensor(d, ops.U16, len(text))
	if err != nil {
		return err
	}
	defer tokens.Release()
	if err := ops.Upload(ctx, tokens, text); err != nil {
		return err
	}
	maxNorm := 1.0
	hyper := optim.DefaultHyper()
	hyper.LR = 0.1
	opt, err := optim.NewAdamW(p, &optim.Options{
		MaxNorm: &maxNorm,
		Scaler:  &optim.Scaler{Init: 1024},
		Groups:  []optim.Group{{Params: p.All(), Hyper: hyper}},
	})
	if err != nil {
		return err
	}
	defer opt.Release()
	g := ops.NewGraph(d)
	x, y, at := g.Batch(tokens, b, m, 7)
	loss := g.CrossEntropy(g.Embed(table, x), y, nil)
	g.Backward(loss, nil)
	update := opt.Record(g)
	g.Output(loss)
	step, err := g.Compile()
	if err != nil {
		return err
	}
	defer step.Close()
	losses := make([]float32, 3)
	for k := range losses {
		if err := ops.Upload(ctx, at, []uint32{uint32(k), 0, 0, 0}); err != nil {
			return err
		}
		if err := update.Stage(step); err != nil {
			return err
		}
		if err := step.Run(); err != nil {
			return err
		}
		if err := step.Wait(ctx); err != nil {
			return err
		}
		if losses[k], err = ops.Item(ctx, loss); err != nil {
			return err
		}
	}
	if math.Abs(float64(losses[0])-math.Log(vocabulary)) > 1e-3 || !(losses[2] < losses[1] && losses[1] < losses[0]) {
		return fmt.Errorf("losses %v do not fall from log %d", losses, vocabulary)
	}
	return nil
}
