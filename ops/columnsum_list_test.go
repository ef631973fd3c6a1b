package ops_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// biased is layers with biases and norms, two of which share a bias, in two sets.
type biased struct {
	sets    []*ops.Params
	weights []*ops.Tensor
	layers  [][4]*ops.Tensor // weight, bias, weight and bias of a norm
}

const biasedRows, biasedWidth = 300, 36

func newBiased(t *testing.T, dev *vk.Device, dt ops.DType, layers int) *biased {
	t.Helper()
	b := &biased{sets: []*ops.Params{ops.NewParams(dev, dt), ops.NewParams(dev, dt)}}
	for i := range layers {
		p := b.sets[i%2]
		l := [4]*ops.Tensor{p.Add(fmt.Sprint("w", i), biasedWidth, biasedWidth), nil, p.Add(fmt.Sprint("norm", i), biasedWidth), p.Add(fmt.Sprint("shift", i), biasedWidth)}
		if l[1] = p.Add(fmt.Sprint("bias", i), biasedWidth); i == layers-1 {
			l[1] = b.layers[i-2][1]
		}
		b.layers = append(b.layers, l)
	}
	for _, p := range b.sets {
		must(t, p.Alloc())
		t.Cleanup(p.Release)
		b.weights = append(b.weights, p.All()...)
	}
	for i, w := range b.weights {
		must(t, ops.Upload(ctx, w, random(dt, uint32(i), w.Len())))
	}
	return b
}

// gradients runs a forward and backward pass by run, of a graph or of one that runs at once, and returns all gradients.
func (b *biased) gradients(t *testing.T, g *ops.Graph, accumulate bool, run func()) (all []float32) {
	t.Helper()
	dt := b.sets[0].DType()
	for i, w := range b.weights {
		must(t, ops.Upload(ctx, w, random(dt, uint32(i), w.Len())))
		for _, p := range b.sets {
			if d := p.Grad(w); d != nil {
				must(t, ops.Upload(ctx, d, random(dt, uint32(1000+i), w.Len())))
			}
		}
	}
	x := tensor(t, g.Device(), dt, []int{biasedRows, biasedWidth}, random(dt, 500, biasedRows*biasedWidth))
	h := x
	for _, l := range b.layers {
		h = g.Linear(g.LayerNorm(h, l[2], l[3], 1e-5), l[0], l[1])
	}
	// Two that sum one gradient, for different sets, and use their weights again.
	first, second := b.layers[0], b.layers[1]
	h = g.Add(g.Linear(h, first[0], first[1]), g.Linear(h, second[0], second[1]))
	ops.BackwardFrom(g, h, g.Scale(x, 1), accumulate)
	must(t, g.Err())
	run()
	for _, w := range b.weights {
		for _, p := range b.sets {
			if d := p.Grad(w); d != nil {
				all = append(all, values(t, d)...)
			}
		}
	}
	return all
}

// Sums of columns that wait for each other have the bits that each has by itself: in several sets, with a bias that two layers
// share, added to what is there or not.
func TestListedSums(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		for _, layers := range []int{3, 20} { // of the second, lists are as long as they may be
			b := newBiased(t, dev, dt, layers)
			for _, accumulate := range []bool{false, true} {
				t.Run(fmt.Sprint(dt, layers, accumulate), func(t *testing.T) {
					now := ops.NewImmediate(dev)
					defer now.Release()
					want := b.gradients(t, now, accumulate, func() {})
					for _, checked := range []bool{false, true} {
						g := ops.NewGraph(dev)
						var s *ops.Step
						got := b.gradients(t, g, accumulate, func() {
							s = compile(t, g)
							if checked {
								must(t, s.RunChecked(ctx))
							} else {
								must(t, s.Run())
							}
						})
						if !slices.EqualFunc(got, want, sameBits) {
							t.Errorf("checked %v: gradients differ", checked)
						}
						sums := 0
						for _, k := range ops.Kernels(g) {
							if strings.HasPrefix(k, "columnsum.") {
								sums++
							}
						}
						if saved := len(ops.Kernels(g)) - s.Stats().Dispatches; saved < sums*2/5 {
							t.Errorf("%d sums, of which lists save %d", sums, saved)
						}
					}
				})
			}
		}
	}
}

func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
