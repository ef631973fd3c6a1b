package train_test

import (
	"context"
	"errors"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
	"github.com/lemnos-ml/lemnos/vk"
)

func TestNilArguments(t *testing.T) {
	const noDevice = "the device is nil: open one with vk.Open"
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	m, err := train.NewModel(dev, c)
	must(t, err)
	defer m.Params().Release()
	tokens := data.TextTokens(text(1000))
	corpus, quiet := data.Corpus{Train: tokens, Val: tokens}, train.Hooks{}
	var none *nn.Transformer // in an interface it is not nil
	for want, err := range map[string]error{
		"train: new trainer: " + noDevice:                          errorOf(train.NewTrainer(nil, c, m, tokens)),
		"train: new trainer: the model is nil":                     errorOf(train.NewTrainer(dev, c, none, tokens)),
		"train: new trainer: no tokens":                            errorOf(train.NewTrainer(dev, c, m, nil)),
		"train: new evaluator: " + noDevice:                        errorOf(train.NewEvaluator(nil, c, m, tokens)),
		"train: new evaluator: the model is nil":                   errorOf(train.NewEvaluator(dev, c, nil, tokens)),
		"train: new evaluator: no tokens":                          errorOf(train.NewEvaluator(dev, c, m, nil)),
		"train: new model: " + noDevice:                            errorOf(train.NewModel(nil, c)),
		"nn: transformer: ops: params: " + noDevice:                errorOf2(train.OpenModel(ctx, nil, "hf/testdata/llama", ops.F32)),
		"train: run: " + noDevice:                                  train.Run(ctx, nil, c, m, corpus, quiet),
		"train: run: the model is nil":                             train.Run(ctx, dev, c, none, corpus, quiet),
		"data: there are no tokens to train on":                    train.Run(ctx, dev, c, m, data.Corpus{}, quiet),
		"data: batch: the sampler is nil":                          errorOfBatch(nil),
		"data: there are no tokens":                                errorOfBatch(&data.Sampler{B: 1, M: 2}),
		"train: generate: the sequence, the sampler or the writer": errorOf(train.Generate(ctx, nil, nil, nil, "", 1, io.Discard)),
		"tokenize: the tokenizer is nil":                           errorOf(data.Tokenize(ctx, nil, "m", 0, nil, "a.txt")),
		"tokenizer: encode: the tokenizer, the reader":             (&tokenizer.Tokenizer{}).EncodeReader(ctx, nil, func([]int32, int) error { return nil }),
		"or the function that takes the ids is nil":                (&tokenizer.Tokenizer{}).EncodeReader(ctx, strings.NewReader("a"), nil),
		`tensor "a" has no Write`:                                  safetensors.Save(filepath.Join(t.TempDir(), "a"), nil, []safetensors.Entry{{Name: "a", DType: "F32", Shape: []int{1}}}),
	} {
		mustFail(t, err, want)
	}
	e, err := train.NewEvaluator(dev, c, m, tokens)
	must(t, err)
	defer e.Close()
	for _, vocab := range []int{-1, 0, 1, 'w'} {
		mustFail(t, errorOf(e.UnigramEntropy(ctx, tokens, vocab)), "vocabulary of")
	}
	mustFail(t, errorOf(e.UnigramEntropy(ctx, nil, 256)), "no tokens")
	for _, w := range []*data.Windows{nil, {B: 1, M: 2}} {
		if n := w.Count(); n != 0 {
			t.Errorf("%d windows of no tokens", n)
		}
		mustFail(t, errorOf(w.Gather(0, make([]int32, 2), make([]int32, 2))), "data: ")
	}
	if m, err := train.NewModel(dev, train.Config{Model: "transformer"}); err == nil || m != nil {
		t.Errorf("a configuration without sizes: %v, %v", m, err)
	}
}

func errorOfBatch(s *data.Sampler) error {
	p := data.NewPrefetcher(s)
	defer p.Close()
	_, _, err := p.Batch(0)
	return err
}

// Where the context has ended nothing is read, written or changed.
func TestEndedContext(t *testing.T) {
	dev := vktest.Open(t)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	dir := t.TempDir()
	path := filepath.Join(dir, "state.safetensors")
	l := newLoop(t, dev, ops.F32, 8)
	l.run(t, 0, 2)
	must(t, train.Save(ctx, path, l.model.Params(), l.opt, nil))
	want := l.run(t, 2, 4)
	must(t, errorOf(train.Load(ctx, path, l.model.Params(), l.opt)))
	l.run(t, 2, 3)
	other := filepath.Join(dir, "other.safetensors")
	for what, err := range map[string]error{
		"Save":            train.Save(ended, other, l.model.Params(), l.opt, nil),
		"Save of a model": train.Save(ended, other, l.model.Params(), nil, nil),
		"Load":            errorOf(train.Load(ended, path, l.model.Params(), l.opt)),
		"Load of a model": errorOf(train.Load(ended, path, l.model.Params(), nil)),
		"OpenModel":       errorOf2(train.OpenModel(ended, dev, "hf/testdata/llama", ops.F32)),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", what, err)
		}
	}
	if got := l.run(t, 3, 4); got[0] != want[1] {
		t.Errorf("loss %x after a load that was ended, want %x", got[0], want[1])
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 1 {
		t.Errorf("files %q, want the first alone", names)
	}

	c := smallRun(t, t.TempDir())
	c.TotalSteps, c.CkptEvery = 2, 2
	must(t, errorOf(runOnce(ctx, dev, c)))
	m, err := train.NewModel(dev, c)
	must(t, err)
	defer m.Params().Release()
	tr, err := train.NewTrainer(dev, c, dropping{m.(*nn.Bigram), c.Dropout}, data.TextTokens(text(1000)))
	must(t, err)
	defer tr.Close()
	checkpoint := filepath.Join(c.Dir(), "checkpoint-00000002.safetensors")
	for what, err := range map[string]error{
		"Restore":  tr.Restore(ended, checkpoint),
		"Snapshot": errorOf(tr.Snapshot(ended)),
		"OpenData": errorOf(train.OpenData(ended, c, nil)),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", what, err)
		}
	}
	if tr.Iteration() != 0 {
		t.Errorf("at step %d after a Restore that was ended, want 0", tr.Iteration())
	}
}

func errorOf2[A, B any](_ A, _ B, err error) error { return err }

// reserved is a run whose model is made without values.
func reserved(t *testing.T, dev *vk.Device, c train.Config) (starts int, err error) {
	t.Helper()
	data, err := train.OpenData(ctx, c, nil)
	must(t, err)
	defer data.Close()
	m, start, err := train.ReserveModel(dev, c)
	must(t, err)
	defer m.Params().Release()
	err = train.Run(ctx, dev, c, m, data, train.Hooks{
		Start: func(ctx context.Context) error { starts++; return start(ctx) }})
	return starts, err
}

func transformerOf(c train.Config) train.Config {
	c.Model, c.Layers, c.Heads, c.Width, c.FFN = "transformer", 2, 2, 32, 64
	c.TotalSteps, c.CkptEvery, c.EvalEvery, c.EvalWindows = 4, 2, 4, 4
	return c
}

// A reserved model starts, in 16 bits too, where NewModel's does, and not at all
// where a checkpoint has its values.
func TestReservedModel(t *testing.T) {
	dev := vktest.Open(t)
	for _, mixed := range []bool{false, true} {
		c := transformerOf(smallRun(t, t.TempDir()))
		c.MixedPrecision = mixed
		must(t, errorOf(runOnce(ctx, dev, c)))
		want := state(t, c)
		c.RunName = "reserved"
		for i, steps := range []int64{2, 4} {
			c.TotalSteps = steps
			if starts, err := reserved(t, dev, c); err != nil || starts != 1-i {
				t.Errorf("to step %d: %d starts, %v; want %d", steps, starts, err, 1-i)
			}
		}
		sameState(t, state(t, c), want)
	}
}

// What does not fit is refused before a value is drawn, be it the model or the run.
func TestTooLargeIsRefusedAtOnce(t *testing.T) {
	dev := vktest.Open(t)
	for name, change := range map[string]func(c *train.Config){
		"layers": func(c *train.Config) { c.Layers = 1_000_000; c.Width = 96 },
		"width":  func(c *train.Config) { c.Width, c.Heads, c.KVHeads, c.Layers = 1<<16, 256, 0, 1000 },
		"ffn":    func(c *train.Config) { c.FFN = math.MaxInt32 },
		"vocab":  func(c *train.Config) { c.Vocab = math.MaxInt32 },
		"bigram": func(c *train.Config) { c.Model, c.Vocab = "bigram", math.MaxInt32 },
	} {
		c := transformerOf(smallRun(t, t.TempDir()))
		change(&c)
		begun := time.Now()
		_, err := train.NewModel(dev, c)
		if !errors.Is(err, vk.ErrOutOfMemory) || time.Since(begun) > 20*time.Second { // values would take hours
			t.Errorf("%s: %v after %v, want ErrOutOfMemory at once", name, err, time.Since(begun))
		}
	}
	c := transformerOf(smallRun(t, t.TempDir()))
	c.BatchSize = 1 << 21
	before := dev.Stats().BufferBytes
	if starts, err := reserved(t, dev, c); !errors.Is(err, vk.ErrOutOfMemory) || starts != 0 {
		t.Errorf("a batch that is too large: %v and %d starts, want ErrOutOfMemory and none", err, starts)
	}
	if after := dev.Stats().BufferBytes; after != before {
		t.Errorf("%d bytes are left on the device", after-before)
	}
	if names, _ := filepath.Glob(filepath.Join(c.Dir(), "*")); !slices.Equal(names, nil) {
		t.Errorf("the run left %q", names)
	}
}
