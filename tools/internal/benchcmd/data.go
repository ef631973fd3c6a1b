package benchcmd

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/lemnos-ml/lemnos/ops"
)

// values are normally distributed, and 16-bit types hold them exactly. They never end: value i of two that start apart are those
// that follow in one list, which repeats.
type values struct{ from int }

// period is a prime number, so that no two rows of a matrix are the same.
const period = 1<<20 - 3

// noise is the list twice, so that a row is never in two pieces.
var noise = sync.OnceValue(func() []float32 {
	random := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, period)
	for i := range x {
		x[i] = float32(math.Round(random.NormFloat64()*32)) / 32
	}
	return append(x, x...)
})

func (v values) at(i int) float64 { return float64(noise()[(v.from+i)%period]) }

// row is n values from i on, at most period.
func (v values) row(i, n int) []float32 {
	i = (v.from + i) % period
	return noise()[i : i+n]
}

// after are the values behind the first n.
func (v values) after(n int) values { return values{(v.from + n) % period} }

// squares is the sum of the squares of the first n.
func (v values) squares(n int) (sum float64) {
	all := 0.0
	for i := range min(n, period) {
		all += v.at(i) * v.at(i)
	}
	if n <= period {
		return all
	}
	for i := range n % period {
		sum += v.at(i) * v.at(i)
	}
	return sum + float64(n/period)*all
}

// tensor returns a tensor that holds data, or zeros.
func (r *running) tensor(dt ops.DType, data []float32, shape ...int) *ops.Tensor {
	t, err := ops.NewTensor(r.dev, dt, shape...)
	if err != nil {
		r.fail(err)
		return nil
	}
	r.owned = append(r.owned, t)
	if data != nil {
		r.fail(ops.Upload(r.ctx, t, data))
	}
	return t
}

// filled returns a tensor that holds v.
func (r *running) filled(dt ops.DType, v values, shape ...int) *ops.Tensor {
	t := r.tensor(dt, nil, shape...)
	r.fill(t, v)
	return t
}

// scaled is a period of values on the device, times a scale.
type scaled struct {
	dt    ops.DType
	scale float32
}

// fill gives t the values.
func (r *running) fill(t *ops.Tensor, v values) { r.fillScaled(t, v, 1) }

// fillScaled gives t the values times a scale, on the device: of a large tensor a host takes longer to make and send them than the
// device takes for whatever is measured.
func (r *running) fillScaled(t *ops.Tensor, v values, scale float32) {
	if r.err != nil {
		return
	}
	at := scaled{t.DType(), scale}
	if r.lists[at] == nil {
		x := slices.Clone(noise()[:period])
		for i := range x {
			x[i] *= scale
		}
		r.lists[at] = r.tensor(t.DType(), x, period)
	}
	if r.err != nil {
		return
	}
	rows, size := layout(t)
	g := ops.NewImmediate(r.dev)
	defer g.Release()
	words := int(t.Bytes() / 4)
	g.Dispatch("fill", ops.Call{Kernel: "repeat", SPIRV: r.module("repeat"), Threads: words, Args: []*ops.Tensor{r.lists[at], t}, Push: struct {
		Words, Columns, Stride, From, Period, Size uint32
	}{uint32(words), uint32(t.Len() / rows), uint32(int(t.Bytes()) / rows / size), uint32(v.from), period, uint32(size)}})
	r.fail(g.Err())
}

// layout returns how many rows a tensor has in memory, each with zeros behind it where it needs them, and the bytes of a value.
func layout(t *ops.Tensor) (rows, size int) {
	shape := t.Shape()
	return t.Len() / shape[len(shape)-1], t.DType().Size()
}

// ids returns a vector of n ids below v, and those ids.
func (r *running) ids(n, v int) (*ops.Tensor, []int32) {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = idBelow(i, v)
	}
	t, err := ops.NewTensor(r.dev, ops.I32, n)
	if err != nil {
		r.fail(err)
		return nil, ids
	}
	r.owned = append(r.owned, t)
	r.fail(ops.Upload(r.ctx, t, ids))
	return t, ids
}

// idBelow spreads the ids of positions i over [0, v).
func idBelow(i, v int) int32 { return int32(uint64(i) * 2654435761 % (1 << 32) * uint64(v) >> 32) }

// picked are some values of a tensor, spread evenly, as a run leaves them.
type picked struct {
	tensor, values *ops.Tensor
	step           int
}

// pick adds to the graph what keeps about n values of t: to keep all, and to read them, takes many times as long as to compute
// them.
func (r *running) pick(t *ops.Tensor, n int) picked {
	if t == nil || r.graph.Err() != nil {
		return picked{}
	}
	_, size := layout(t)
	stored := int(t.Bytes()) / size
	p := picked{tensor: t, step: (stored/n + 1) | 1} // odd: it meets all columns of a row
	count := (stored/p.step + 1 + 3) &^ 3
	p.values = r.graph.New(t.DType(), count)
	words := count * size / 4
	r.graph.Dispatch("pick", ops.Call{Kernel: "pick", SPIRV: r.module("pick"), Threads: words, Args: []*ops.Tensor{t, p.values}, Push: struct {
		Words, Step, Last, Size uint32
	}{uint32(words), uint32(p.step), uint32(stored - 1), uint32(size)}})
	r.graph.Output(p.values)
	return p
}

// each calls f with the values that were picked and their places among all of the tensor, until it returns an error.
func (p picked) each(r *running, f func(i int, got float64) error) error {
	if p.values == nil {
		return errors.New("nothing was picked")
	}
	got := make([]float32, p.values.Len())
	if err := ops.Download(r.ctx, p.values, got); err != nil {
		return err
	}
	rows, size := layout(p.tensor)
	columns, stride := p.tensor.Len()/rows, int(p.tensor.Bytes())/size/rows
	for j, x := range got {
		at := j * p.step
		if at >= rows*stride || at%stride >= columns {
			continue
		}
		if err := f(at/stride*columns+at%stride, float64(x)); err != nil {
			return err
		}
	}
	return nil
}

// work is how many multiply-adds the check of a result should take, where that leaves it 100 values.
const work = 1 << 23

// samples is of how many values a result is checked.
const samples = 1009

// expect makes the check of t: about a thousand of its values, spread evenly,
// are within tolerance of want, absolute below 1 and relative above.
func (r *running) expect(t *ops.Tensor, tolerance float64, want func(i int) float64) {
	r.expectSome(t, samples, tolerance, want)
}

// expectSome is expect of about n values.
func (r *running) expectSome(t *ops.Tensor, n int, tolerance float64, want func(i int) float64) {
	p := r.pick(t, n)
	r.checks = append(r.checks, func() error {
		return p.each(r, func(i int, got float64) error {
			if w := want(i); !(math.Abs(got-w) <= tolerance*max(1, math.Abs(w))) {
				return fmt.Errorf("value %d of %v is %v, want %v", i, t, got, w)
			}
			return nil
		})
	})
}

// check compares what a run left with the host's values.
func (r *running) check() error {
	if len(r.checks) == 0 {
		return errors.New("no check")
	}
	for _, c := range r.checks {
		if err := c(); err != nil {
			return err
		}
	}
	return nil
}
