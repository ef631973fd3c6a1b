package nn_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
)

func TestMain(m *testing.M) { vktest.Main(m) }

// TestBigram compares the loss with the mean of −log softmax of the table's rows.
func TestBigram(t *testing.T) {
	ctx := context.Background()
	dev := vktest.Open(t)
	const v = 11
	for _, dt := range []ops.DType{ops.F32, ops.F16, ops.BF16} {
		t.Run(dt.String(), func(t *testing.T) {
			m, err := nn.NewBigram(dev, dt, v)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Params().Release()
			table := opstest.Round(dt.String(), opstest.Uniform(1, v*v, 3))
			if err := ops.Upload(ctx, m.Params().All()[0], table); err != nil {
				t.Fatal(err)
			}
			x, y := []int32{3, 0, 10, 3, 7, 5}, []int32{1, 2, -100, 10, 0, 4}
			g := ops.NewGraph(dev)
			in, target := g.Input("x", ops.I32, 2, 3), g.Input("y", ops.I32, 2, 3)
			loss := m.Loss(g, in, target)
			g.Output(loss)
			step, err := g.Compile()
			if err != nil {
				t.Fatal(err)
			}
			defer step.Close()
			for in, ids := range map[*ops.Tensor][]int32{in: x, target: y} {
				if err := ops.Upload(ctx, in, ids); err != nil {
					t.Fatal(err)
				}
			}
			if err := step.Run(); err != nil {
				t.Fatal(err)
			}
			got, err := ops.Item(ctx, loss)
			if err != nil {
				t.Fatal(err)
			}
			var rows []float64
			for _, id := range x {
				rows = append(rows, opstest.F64(table[id*v:(id+1)*v])...)
			}
			ignore := int32(-100)
			want := opstest.CrossEntropy64(rows, y, v, opstest.CrossEntropyOptions{Ignore: &ignore}).Loss
			if math.Abs(float64(got)-want) > 2e-6*want {
				t.Errorf("loss is %v, want %v", got, want)
			}
			logits, err := m.Logits(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for i := range logits {
				if logits[i] != table[i] {
					t.Fatalf("logit %d is %v, want %v", i, logits[i], table[i])
				}
			}
		})
	}
}

func TestBigramRefusesAnEmptyVocabulary(t *testing.T) {
	if _, err := nn.NewBigram(vktest.Open(t), ops.F32, 0); err == nil || !strings.Contains(err.Error(), "0 tokens") {
		t.Errorf("a bigram of no tokens: %v, want an error that says so", err)
	}
}
