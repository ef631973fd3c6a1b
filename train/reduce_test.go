package train_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
)

// rank is one of the processes that train together, here on a device of its own.
type rank struct {
	t      *train.Trainer
	model  train.Model
	losses []float64
}

func newRank(t *testing.T, c train.Config, reduce ...train.Reduce) *rank {
	t.Helper()
	dev := vktest.Open(t)
	data, err := train.OpenData(ctx, c, nil)
	must(t, err)
	t.Cleanup(func() { data.Close() })
	m, err := train.NewModel(dev, c)
	must(t, err)
	t.Cleanup(m.Params().Release)
	tr, err := train.NewTrainer(dev, c, m, data.Train, reduce...)
	must(t, err)
	t.Cleanup(func() { tr.Close() })
	return &rank{t: tr, model: m}
}

func (r *rank) steps(n int) error {
	for range n {
		if err := r.t.Step(); err != nil {
			return err
		}
		loss, _, _, err := r.t.Report(ctx)
		if err != nil {
			return err
		}
		r.losses = append(r.losses, loss)
	}
	return nil
}

func (r *rank) values(t *testing.T) (all []float32) {
	for _, p := range r.model.Params().All() {
		if master := r.t.Optimizer().Master(p); master != nil {
			p = master
		}
		v := make([]float32, p.Len())
		must(t, ops.Download(ctx, p, v))
		all = append(all, v...)
	}
	return all
}

// mean returns a Reduce for each of two ranks, which meet in it.
func mean() [2]train.Reduce {
	var reduce [2]train.Reduce
	to := [2]chan [][]float32{make(chan [][]float32, 1), make(chan [][]float32, 1)}
	for r := range reduce {
		reduce[r] = func(tensors []*ops.Tensor) error {
			own := make([][]float32, len(tensors))
			for i, x := range tensors {
				own[i] = make([]float32, x.Len())
				if err := ops.Download(ctx, x, own[i]); err != nil {
					return err
				}
			}
			to[1-r] <- own
			other := <-to[r]
			for i, x := range tensors {
				sum := make([]float32, x.Len())
				for j := range sum {
					sum[j] = (own[i][j] + other[i][j]) / 2
				}
				if err := ops.Upload(ctx, x, sum); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return reduce
}

// Two processes that exchange gradients between backward pass and update hold the
// same parameters to the bit, although each has batches of its own, and these are
// what the mean of their gradients makes of them; loss and norm are those of both.
func TestReduce(t *testing.T) {
	variants(t, func(name string, c *train.Config) {
		t.Run(name, func(t *testing.T) {
			c.Optimizer, c.GradClipNorm, c.WarmupIters, c.WeightDecay = "sgd", train.ClipNorm(math.Inf(1)), 0, 0
			var both, alone [2]*rank
			var results [2]chan error
			reduce := mean()
			for r := range both {
				own := *c
				own.Rank = uint32(r)
				both[r], alone[r] = newRank(t, own, reduce[r]), newRank(t, own)
				results[r] = make(chan error, 1)
			}
			before := both[0].values(t)
			for r := range both {
				go func() { results[r] <- both[r].steps(1) }()
				must(t, alone[r].steps(1))
			}
			for r := range results {
				must(t, <-results[r])
			}
			a, b, got := alone[0].values(t), alone[1].values(t), both[0].values(t)
			if slices.Equal(a, b) {
				t.Error("both ranks have the same batch")
			}
			var wrong, moved float64
			for i := range got {
				want := (float64(a[i]) + float64(b[i])) / 2
				wrong += (float64(got[i]) - want) * (float64(got[i]) - want)
				moved += (want - float64(before[i])) * (want - float64(before[i]))
			}
			limit := 1e-5
			if c.MixedPrecision {
				limit = 1e-2 // each rank's gradient is rounded when it stays alone, too
			}
			if !(math.Sqrt(wrong) <= limit*math.Sqrt(moved)) || moved == 0 {
				t.Errorf("the step with the mean gradient is off by %g of it", math.Sqrt(wrong/moved))
			}
			if want := (alone[0].losses[0] + alone[1].losses[0]) / 2; c.Dropout == 0 && math.Abs(both[0].losses[0]-want) > 1e-5 {
				t.Errorf("the loss is %v, want %v", both[0].losses[0], want)
			}
			for r := range both {
				go func() { results[r] <- both[r].steps(3) }()
			}
			for r := range results {
				must(t, <-results[r])
			}
			if x, y := both[0].values(t), both[1].values(t); fmt.Sprint(x) != fmt.Sprint(y) || fmt.Sprint(both[0].losses) != fmt.Sprint(both[1].losses) {
				t.Error("the ranks have gone apart")
			}
		})
	})
}

// The hook is called once a step, however many batches that has, and its error is
// the step's.
func TestReduceOncePerStep(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.GradAccum = 3
	calls, gone := 0, errors.New("the other process is gone")
	r := newRank(t, c, func(tensors []*ops.Tensor) error {
		calls++
		if len(tensors) != 3 {
			t.Errorf("%d tensors, want the arena of the gradients, the count and the loss", len(tensors))
		}
		if calls == 3 {
			return gone
		}
		return nil
	})
	must(t, r.steps(2))
	if calls != 2 {
		t.Errorf("called %d times in 2 steps", calls)
	}
	if err := r.steps(1); !errors.Is(err, gone) || !strings.Contains(err.Error(), "step 2: reduce") {
		t.Errorf("error is %v", err)
	}
}
