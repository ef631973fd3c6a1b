package guest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/vk"
)

// model is what this module's models are.
type model interface {
	train.Model
	train.Describer
	nn.Logits
	Initialize(ctx context.Context, seed uint64) error
}

// kind is a model with the structure of the golden values.
type kind struct {
	name    string
	reserve func(dev *vk.Device) (model, error)
	other   func(dev *vk.Device) (model, error) // of another structure
	open    func(ctx context.Context, dev *vk.Device, path string) (model, error)
}

const vocab = 24

var kinds = []kind{
	kindOf("gpt", ReserveGPT, GPTConfig{Vocab: vocab, Layers: 2, Heads: 2, Width: 16, Cap: 2}, func(c *GPTConfig) { c.Cap = 15 }),
	kindOf("experts", ReserveExperts, ExpertsConfig{Vocab: vocab, Width: 16, Heads: 2, FFN: 24, Experts: 4, Balance: 0.1}, func(c *ExpertsConfig) { c.Balance = 0 }),
	kindOf("convolution", ReserveConvolution, ConvolutionConfig{Vocab: vocab, Layers: 2, Width: 10, Reach: 3}, func(c *ConvolutionConfig) { c.Layers = 1 }),
}

func kindOf[M model, C any](name string, reserve func(*vk.Device, ops.DType, C) (M, error), c C, change func(*C)) kind {
	changed := c
	change(&changed)
	return kind{name,
		func(dev *vk.Device) (model, error) { return reserve(dev, ops.F32, c) },
		func(dev *vk.Device) (model, error) { return reserve(dev, ops.F32, changed) },
		func(ctx context.Context, dev *vk.Device, path string) (model, error) {
			m, _, err := train.OpenCustom(ctx, path, func(_ train.Config, c C) (M, error) { return reserve(dev, ops.F32, c) })
			return m, err
		}}
}

// Each model trains for 20 steps and learns. A run that was stopped at step 10 ends
// with the same checkpoint, to the bit; it does not go on with another structure; and
// the model that is loaded from it continues text as the trained one did.
func TestTrain(t *testing.T) {
	dev := open(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			begin(t)
			sample, err := run(t.Context(), t, dev, k.name, k.reserve, nil)
			must(t, err)
			whole := checkpoint(t, k.name)
			learned(t, k.name)
			m, err := k.open(t.Context(), dev, config(k.name).Dir())
			must(t, err)
			defer m.Params().Release()
			if text := generate(t, m); text != sample || strings.Count(text, " ") != 12 {
				t.Errorf("the model that was loaded says %q, while it was trained it said %q", text, sample)
			}

			begin(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err = run(ctx, t, dev, k.name, k.reserve, func(r train.Record) {
				if r.Step == 10 {
					cancel()
				}
			})
			if !errors.Is(err, train.ErrInterrupted) {
				t.Fatalf("stopped: %v", err)
			}
			_, err = run(t.Context(), t, dev, k.name, k.other, nil)
			if err == nil || !strings.Contains(err.Error(), "custom is {") {
				t.Errorf("resumed with another structure: %v", err)
			}
			_, err = run(t.Context(), t, dev, k.name, k.reserve, nil)
			must(t, err)
			if !bytes.Equal(checkpoint(t, k.name), whole) {
				t.Error("the run that was stopped ended with another checkpoint than the one that was not")
			}
		})
	}
}

func config(name string) train.Config {
	cfg := train.DefaultConfig()
	cfg.Vocab, cfg.Data = vocab, "text.bin"
	cfg.BatchSize, cfg.ContextLen, cfg.MixedPrecision, cfg.LRMax, cfg.LRMin = 8, 16, false, 1e-2, 1e-3
	cfg.TotalSteps, cfg.WarmupIters, cfg.LogEvery, cfg.EvalEvery, cfg.CkptEvery, cfg.EvalWindows = 20, 2, 5, 10, 20, 16
	cfg.CkptDir, cfg.RunName = "runs", name
	if rule := (Adagrad{}); name == rule.Name() {
		cfg.Optimizer, cfg.LRMax = name, 5e-2
	}
	return cfg
}

// begin makes a new folder the current one, with a text in it: sums of two digits, as
// ids of two bytes.
func begin(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	var text []byte
	for i := range 750 {
		a, b := i*7%10, i*i%10
		for _, id := range []int{a, b, 10 + (a+b)%10, 20 + i%3} {
			text = append(text, byte(id), 0)
		}
	}
	must(t, os.WriteFile("text.bin", text, 0o666))
}

// run trains a new model from the newest checkpoint, if there is one, and returns the
// text that it generated last.
func run(ctx context.Context, t *testing.T, dev *vk.Device, name string, reserve func(*vk.Device) (model, error), progress func(train.Record)) (sample string, err error) {
	t.Helper()
	m, err := reserve(dev)
	must(t, err)
	defer m.Params().Release()
	cfg := config(name)
	text, err := train.OpenData(ctx, cfg, nil)
	must(t, err)
	defer text.Close()
	err = train.Run(ctx, dev, cfg, m, text, train.Hooks{
		Start:    func(ctx context.Context) error { return m.Initialize(ctx, cfg.Seed) },
		Sample:   func(int64) string { sample = generate(t, m); return sample },
		Progress: progress,
	})
	return sample, err
}

// generate returns 12 ids, the likeliest after three others.
func generate(t *testing.T, m model) string {
	t.Helper()
	s, err := nn.NewSequence(m, 16)
	must(t, err)
	defer s.Close()
	var text strings.Builder
	_, err = train.Generate(t.Context(), s, &nn.Sampler{}, nil, "7 1 18", 12, &text)
	must(t, err)
	return text.String()
}

// checkpoint returns the last one.
func checkpoint(t *testing.T, name string) []byte {
	t.Helper()
	path, _, err := train.Latest(config(name).Dir())
	must(t, err)
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}

// learned wants a validation loss that falls at each evaluation.
func learned(t *testing.T, name string) {
	t.Helper()
	records, err := train.ReadMetrics(config(name).Dir() + "/metrics.jsonl")
	must(t, err)
	var losses []float64
	for _, r := range records {
		if r.ValLoss != nil {
			losses = append(losses, *r.ValLoss)
		}
	}
	if len(losses) != 3 || losses[1] > losses[0]-0.1 || losses[2] > losses[1]-0.1 {
		t.Errorf("validation losses of steps 0, 10 and 20: %v, want each 0.1 below the one before", losses)
	}
	t.Logf("validation losses of steps 0, 10 and 20: %.3f", losses)
}

// open returns the best device. Without one a test is skipped, or with VK_REQUIRE set
// has failed.
func open(t *testing.T) *vk.Device {
	t.Helper()
	dev, err := vk.Open(nil)
	if errors.Is(err, vk.ErrNoDevice) && os.Getenv("VK_REQUIRE") == "" {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() { dev.Close() })
	return dev
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
