package benchcmd

import (
	"fmt"
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// What a device fills tensors with, and what it picks of them, are the host's values, in rows with and without zeros behind them
// and past the end of the list.
func TestValues(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range []ops.DType{ops.F32, ops.F16, ops.BF16} {
		for _, shape := range [][]int{{3, 5}, {7}, {2, 3, 64}, {17, 1001}, {2, 1 << 20}} {
			t.Run(fmt.Sprint(dt, shape), func(t *testing.T) {
				r := newRunning(dev)
				defer r.release()
				v := values{}.after(period - 7)
				x := r.filled(dt, v, shape...)
				p := r.pick(r.graph.Scale(x, 0.5), 100)
				step, err := r.graph.Compile()
				if err != nil || r.err != nil {
					t.Fatal(err, r.err)
				}
				defer step.Close()
				if err := step.Run(); err != nil {
					t.Fatal(err)
				}
				got := make([]float32, x.Len())
				if err := ops.Download(r.ctx, x, got); err != nil {
					t.Fatal(err)
				}
				for i, x := range got {
					if float64(x) != v.at(i) {
						t.Fatalf("value %d is %v, want %v", i, x, v.at(i))
					}
				}
				places := map[int]bool{}
				if err := p.each(r, func(i int, got float64) error {
					places[i] = true
					if got != v.at(i)/2 {
						return fmt.Errorf("picked %v of %d, want %v", got, i, v.at(i)/2)
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
				if n := len(places); n < min(60, x.Len()/2) || n > 110 {
					t.Errorf("%d values were picked of %d", n, x.Len())
				}
			})
		}
	}
}

func TestValuesOnTheHost(t *testing.T) {
	v := values{}.after(period - 2)
	for i, x := range v.row(1, 5) {
		if float64(x) != v.at(1+i) {
			t.Errorf("value %d of a row is %v, want %v", i, x, v.at(1+i))
		}
	}
	if v.at(0) != v.at(period) || v.at(2) != (values{}).at(0) {
		t.Error("the list does not begin again behind its end")
	}
	for _, n := range []int{0, 10, period, 2*period + 3} {
		want := 0.0
		for i := range n {
			want += v.at(i) * v.at(i)
		}
		if got := v.squares(n); math.Abs(got-want) > 1e-9*want {
			t.Errorf("the squares of %d are %v, want %v", n, got, want)
		}
	}
}
