package train_test

import (
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
)

// sparing is a model of one's own that learns nothing of one token.
type sparing struct {
	params *ops.Params
	table  *ops.Tensor
}

func (m *sparing) Params() *ops.Params { return m.params }

func (m *sparing) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	return g.CrossEntropy(g.Embed(m.table, x), y, &ops.CrossEntropyOptions{IgnoreIndex: new(spared)})
}

const spared = 3

// Micro-batches of which some ignore more targets than others, or all, count by
// their targets: the loss of a step is the mean over all of them.
func TestAccumulatedLossCountsTargets(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.BatchSize, c.ContextLen, c.Vocab, c.GradAccum = 1, 4, 8, 5
	c.LRMax, c.LRMin = 0, 0
	text := make([]uint16, 64) // windows of nothing but the token that is ignored among them
	for i := range text {
		if text[i] = spared; i%16 > 8 {
			text[i] = uint16(i * 7 % 8)
		}
	}
	tokens := data.NewTokens(text)
	m := &sparing{params: ops.NewParams(dev, c.Storage())}
	m.table = m.params.Add("table", c.Vocab, c.Vocab)
	must(t, m.params.Alloc())
	defer m.params.Release()
	must(t, nn.Initialize(ctx, m.params, 5, func(*ops.Tensor) nn.Init { return nn.Init{Deviation: 2} }))
	scores := make([]float32, c.Vocab*c.Vocab)
	must(t, ops.Download(ctx, m.table, scores))
	tr, err := train.NewTrainer(dev, c, m, tokens)
	must(t, err)
	defer tr.Close()
	sampler := data.Sampler{Tokens: tokens, Seed: c.Seed, B: c.BatchSize, M: c.ContextLen}
	none, some := 0, 0
	for step := range int64(4) {
		must(t, tr.Step())
		got, _, _, err := tr.Report(ctx)
		must(t, err)
		var sum float64
		counted := 0
		for k := range int64(c.GradAccum) {
			x, y := make([]int32, 4), make([]int32, 4)
			must(t, sampler.Gather(step*int64(c.GradAccum)+k, x, y))
			before := counted
			for i := range x {
				if y[i] == spared {
					continue
				}
				row, lse := scores[int(x[i])*c.Vocab:][:c.Vocab], 0.0
				for _, s := range row {
					lse += math.Exp(float64(s))
				}
				sum += math.Log(lse) - float64(row[y[i]])
				counted++
			}
			if none++; counted > before {
				none, some = none-1, some+1
			}
		}
		if want := sum / float64(counted); !(math.Abs(got-want) <= 2e-6*want) {
			t.Errorf("loss of step %d is %v, want the mean %v over %d targets", step+1, got, want, counted)
		}
	}
	if none == 0 || some == 0 {
		t.Fatalf("%d batches without targets and %d with: the test needs both", none, some)
	}
}

// So does that of an evaluation, of which the batches may be of one window, with or without targets, or of all.
func TestEvaluationCountsTargets(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.ContextLen, c.Vocab = 4, 8
	text := make([]uint16, 65)
	for i := range text {
		if text[i] = spared; i%16 > 6 {
			text[i] = uint16(i * 7 % 8)
		}
	}
	m := &sparing{params: ops.NewParams(dev, ops.F32)}
	m.table = m.params.Add("table", c.Vocab, c.Vocab)
	must(t, m.params.Alloc())
	defer m.params.Release()
	must(t, nn.Initialize(ctx, m.params, 5, func(*ops.Tensor) nn.Init { return nn.Init{Deviation: 2} }))
	loss := func(batch int, text []uint16) (float64, error) {
		c.BatchSize = batch
		e, err := train.NewEvaluator(dev, c, m, data.NewTokens(text))
		must(t, err)
		defer e.Close()
		return e.Loss(ctx)
	}
	want, err := loss(16, text)
	must(t, err)
	for _, batch := range []int{1, 2, 4, 8} {
		got, err := loss(batch, text)
		must(t, err)
		if !(math.Abs(got-want) <= 1e-6*want) {
			t.Errorf("batches of %d: %v, want %v", batch, got, want)
		}
	}
	_, err = loss(1, text[:6])
	mustFail(t, err, "train: evaluation: the model ignores every held-out target")
}

// forgetful returns no loss.
type forgetful struct{ *sparing }

func (forgetful) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor { return nil }

func TestLossIsNil(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	m := &sparing{params: ops.NewParams(dev, ops.F32)}
	m.table = m.params.Add("table", c.Vocab, c.Vocab)
	must(t, m.params.Alloc())
	defer m.params.Release()
	for _, passes := range []int{1, 3} {
		c.GradAccum = passes
		_, err := train.NewTrainer(dev, c, forgetful{m}, data.NewTokens(make([]uint16, 1000)))
		mustFail(t, err, "train: Loss of a model of type train_test.forgetful returned nil")
	}
	_, err := train.NewEvaluator(dev, c, forgetful{m}, data.NewTokens(make([]uint16, 1000)))
	mustFail(t, err, "train: Loss of a model of type train_test.forgetful returned nil")
}
