package optim_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

func TestRecordNorms(t *testing.T) {
	dev := vktest.Open(t)
	r := rand.New(rand.NewPCG(1, 2))
	for _, dt := range storage {
		t.Run(dt.String(), func(t *testing.T) {
			p := newParams(t, dev, dt, make([]float32, 1000), make([]float32, 15), make([]float32, 7))
			a := newOptimizer(t, p, nil)
			kinds := []string{"values", "m", "v"}
			if dt != ops.F32 {
				kinds = append(kinds, "master")
			}
			tensors := func(kind int) (ts []*ops.Tensor) {
				for _, x := range p.All() {
					m, v, master := moments(a, x)
					ts = append(ts, []*ops.Tensor{x, m, v, master}[kind])
				}
				return ts
			}
			fill := func(kind int, change map[int]float32) (norm float64) {
				at := 0
				for _, x := range tensors(kind) {
					values := make([]float32, x.Len())
					for i := range values {
						values[i] = float32(r.IntN(9)-4) * 0.25 // exact in 16 bits
						if c, ok := change[at]; ok {
							values[i] = c
						}
						norm += float64(values[i]) * float64(values[i])
						at++
					}
					must(t, ops.Upload(ctx, x, values))
				}
				return math.Sqrt(norm)
			}
			g := ops.NewGraph(dev)
			norms := a.RecordNorms(g)
			step, err := g.Compile()
			must(t, err)
			defer step.Close()
			measure := func() (all []float64) {
				must(t, step.Run())
				for _, n := range norms {
					var v [8]float32
					must(t, ops.Download(ctx, n, v[:]))
					all = append(all, float64(v[0]))
				}
				return all
			}
			want := make([]float64, len(kinds))
			for k := range kinds {
				want[k] = fill(k, nil)
			}
			inf, nan := float32(math.Inf(1)), float32(math.NaN())
			check := func(what string, bad int) {
				t.Helper()
				for k, got := range measure() {
					if k == bad {
						if !math.IsNaN(got) && !math.IsInf(got, 0) {
							t.Errorf("%s: norm of %s is %v, want NaN or an infinity", what, kinds[k], got)
						}
					} else if math.Abs(got-want[k]) > 1e-6*want[k] {
						t.Errorf("%s: norm of %s is %v, want %v", what, kinds[k], got, want[k])
					}
				}
			}
			check("finite", -1)
			for k := range kinds {
				for _, at := range []int{0, 999, 1000, 1014, 1015, 1021} {
					for _, v := range []float32{nan, inf, -inf} {
						fill(k, map[int]float32{at: v})
						check(fmt.Sprintf("%v at %d of %s", v, at, kinds[k]), k)
					}
				}
				want[k] = fill(k, nil)
			}
			check("finite again", -1)
		})
	}
}

func TestRecordNormsAfterRelease(t *testing.T) {
	dev := vktest.Open(t)
	p := newParams(t, dev, ops.F32, make([]float32, 8))
	a, err := optim.NewAdamW(p, nil)
	must(t, err)
	a.Release()
	g := ops.NewGraph(dev)
	defer g.Release()
	if norms := a.RecordNorms(g); norms != nil || g.Err() == nil {
		t.Errorf("%v, %v: want an error", norms, g.Err())
	}
}
