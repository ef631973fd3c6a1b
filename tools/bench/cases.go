package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// benchmark is a graph to time.
type benchmark struct {
	shape  string
	parts  []part
	build  func(r *running)
	memory float64 // bytes that it takes at least, where that may be too many for a device
	long   bool    // on a processor: it is measured there only where -run asks for it
}

// part is some of a graph's dispatches: a row of the table.
type part struct {
	name    string
	kernels string  // prefixes of kernel names, separated by blanks
	bytes   float64 // that the kernels have to read and write: each operand once, unless said otherwise
	flops   float64
}

func (p part) covers(kernel string) bool {
	for prefix := range strings.FieldsSeq(p.kernels) {
		if strings.HasPrefix(kernel, prefix) {
			return true
		}
	}
	return false
}

// running is a graph being built, and what it needs beside its operations.
type running struct {
	dev   *vk.Device
	ctx   context.Context
	graph *ops.Graph
	err   error
	owned []interface{ Release() }

	stage func(*ops.Step) error // before each run
	check func() error          // after the first run: are the results right?
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

func (r *running) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *running) release() {
	r.graph.Release()
	for _, o := range r.owned {
		o.Release()
	}
}

// expect makes the check of t: about a thousand of its values, spread evenly,
// are within tolerance of want, absolute below 1 and relative above.
func (r *running) expect(t *ops.Tensor, tolerance float64, want func(i int) float64) {
	before := r.check
	r.check = func() error {
		if before != nil {
			if err := before(); err != nil {
				return err
			}
		}
		got := make([]float32, t.Len())
		if err := ops.Download(r.ctx, t, got); err != nil {
			return err
		}
		for i := 0; i < len(got); i += len(got)/1009 + 1 {
			w := want(i)
			if !(math.Abs(float64(got[i])-w) <= tolerance*max(1, math.Abs(w))) {
				return fmt.Errorf("value %d of %v is %v, want %v", i, t, got[i], w)
			}
		}
		return nil
	}
}

// normals returns n normally distributed values that 16-bit types hold exactly. They repeat after a prime number of them, so
// that no two rows of a matrix are the same.
func normals(n int) []float32 {
	const period = 1<<20 - 3
	random := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range min(n, period) {
		x[i] = float32(math.Round(random.NormFloat64()*32)) / 32
	}
	for done := period; done < n; done *= 2 {
		copy(x[done:], x[:done])
	}
	return x
}

// cases lists everything that bench measures, ceilings and training steps aside.
func cases(c config) []benchmark {
	n := c.bytes() / 4 // f32 values
	list := []benchmark{fillCase(ops.F32, n), fillCase(ops.BF16, 2*n),
		castCase(ops.F32, ops.BF16, n), castCase(ops.BF16, ops.F32, n), castCase(ops.F32, ops.F16, n),
		addCase(n), broadcastCase(n/64, 64), transposeCase(n/64, 64), sumCase(n), scaleCase(n), optimizerCase("", ops.F32, n, 1), optimizerCase("", ops.BF16, 2*n, 1)}
	for _, dt := range []ops.DType{ops.F32, ops.BF16} {
		for _, v := range []int{1000, 50257} {
			list = append(list, crossEntropyCase(dt, max(1, (c.bytes()+v*dt.Size()-1)/(v*dt.Size())), v))
		}
	}
	d := 1024
	if c.quick {
		d = 64
	}
	list = append(list, embedCase(n/d, min(d, n/d), d))
	return slices.Concat(list, matmulCases(c), layerCases(c), attentionCases(c), activationCases(c), modelCases(c), optimizerCases(c))
}

// plainCopy is the copy that comes to mind first: y[i] = x[i], 16 bytes for each
// invocation, in workgroups of 256.
func plainCopy(size int) benchmark {
	return copyCase("copy", size, ops.Call{Kernel: "copy_plain", Threads: size / 16, Local: 256})
}

// fastestCopy is the kernel with which ops copies: what an invocation does and
// how many there are is tuned to the device.
func fastestCopy(size int) benchmark {
	return copyCase("fastest copy", size, ops.Call{Kernel: "copy", Items: size / 16})
}

func copyCase(name string, size int, c ops.Call) benchmark {
	n4 := size / 16
	return benchmark{shape: fmt.Sprintf("f32[%d]", 4*n4), parts: []part{{name: name, kernels: "copy", bytes: 2 * float64(size)}}, build: func(r *running) {
		data := normals(4 * n4)
		x, y := r.tensor(ops.F32, data, 4*n4), r.tensor(ops.F32, nil, 4*n4)
		c.Push, c.Args = struct{ N4 uint32 }{uint32(n4)}, []*ops.Tensor{x, y}
		r.graph.Dispatch("copy", c)
		r.expect(y, 0, func(i int) float64 { return float64(data[i]) })
	}}
}

func fillCase(dt ops.DType, n int) benchmark {
	return benchmark{shape: fmt.Sprintf("%s[%d]", dt, n), parts: []part{{name: "fill " + dt.String(), kernels: "fill", bytes: float64(n * dt.Size())}}, build: func(r *running) {
		y := r.tensor(dt, nil, n)
		r.graph.Fill(y, 1.5)
		r.expect(y, 0, func(int) float64 { return 1.5 })
	}}
}

func castCase(from, to ops.DType, n int) benchmark {
	// f32 is the wider one of each pair, and n counts its values.
	return benchmark{shape: fmt.Sprintf("[%d]", n), parts: []part{{name: fmt.Sprintf("cast %s to %s", from, to), kernels: "cast", bytes: float64(n * (from.Size() + to.Size()))}}, build: func(r *running) {
		data := normals(n)
		x, y := r.tensor(from, data, n), r.tensor(to, nil, n)
		r.graph.CastTo(x, y)
		r.expect(y, 0, func(i int) float64 { return float64(data[i]) })
	}}
}

func addCase(n int) benchmark {
	return benchmark{shape: fmt.Sprintf("f32[%d]", n), parts: []part{{name: "add f32", kernels: "binary.", bytes: 12 * float64(n)}}, build: func(r *running) {
		data := normals(n)
		x, y := r.tensor(ops.F32, data, n), r.tensor(ops.F32, data, n)
		z := r.graph.Add(x, y)
		r.graph.Output(z)
		r.expect(z, 0, func(i int) float64 { return 2 * float64(data[i]) })
	}}
}

// broadcastCase multiplies (n, d) by a row.
func broadcastCase(n, d int) benchmark {
	return benchmark{shape: fmt.Sprintf("f32[%d %d]", n, d), parts: []part{{name: "mul by a row f32", kernels: "binary.", bytes: 8 * float64(n*d)}}, build: func(r *running) {
		data := normals(n * d)
		y := r.graph.Mul(r.tensor(ops.F32, data, n, d), r.tensor(ops.F32, data[:d], d))
		r.graph.Output(y)
		r.expect(y, 1e-6, func(i int) float64 { return float64(data[i]) * float64(data[i%d]) })
	}}
}

// transposeCase transposes (n, d), d a multiple of four.
func transposeCase(n, d int) benchmark {
	return benchmark{shape: fmt.Sprintf("f32[%d %d]", n, d), parts: []part{{name: "transpose f32", kernels: "copy_strided.", bytes: 8 * float64(n*d)}}, build: func(r *running) {
		data := normals(n * d)
		y := r.graph.Transpose(r.tensor(ops.F32, data, n, d), 0, 1)
		r.graph.Output(y)
		r.expect(y, 0, func(i int) float64 { return float64(data[i%n*d+i/n]) })
	}}
}

func sumCase(n int) benchmark {
	const d = 1024
	return benchmark{shape: fmt.Sprintf("f32[%d %d]", n/d, d), parts: []part{{name: "row sum f32", kernels: "rowsum.", bytes: 4 * float64(n)}}, build: func(r *running) {
		data := normals(n)
		y := r.graph.RowSum(r.tensor(ops.F32, data, n/d, d))
		r.graph.Output(y)
		r.expect(y, 1e-4, func(i int) (sum float64) {
			for _, x := range data[i*d : (i+1)*d] {
				sum += float64(x)
			}
			return sum
		})
	}}
}

func scaleCase(n int) benchmark {
	return benchmark{shape: fmt.Sprintf("f32[%d]", n), parts: []part{{name: "scale f32", kernels: "scale", bytes: 8 * float64(n)}}, build: func(r *running) {
		data := normals(n)
		y := r.graph.Scale(r.tensor(ops.F32, data, n), 0.5)
		r.graph.Output(y)
		r.expect(y, 0, func(i int) float64 { return float64(data[i]) / 2 })
	}}
}

// embedCase gathers n rows of a (v, d) table and adds their gradients up again.
// What the backward pass reads of the ids, up to all of them for each position,
// is not counted.
func embedCase(n, v, d int) benchmark {
	rows := float64(4 * n * d)
	return benchmark{shape: fmt.Sprintf("n=%d [%d %d]", n, v, d), parts: []part{
		{name: "embed f32", kernels: "embed.", bytes: 2*rows + 4*float64(n)},
		{name: "embed_back f32", kernels: "embed_back. embed_links", bytes: rows + 4*float64(v*d+n)},
	}, build: func(r *running) {
		params := ops.NewParams(r.dev, ops.F32)
		table := params.Add("table", v, d)
		if err := params.Alloc(); err != nil {
			r.fail(err)
			return
		}
		r.owned = append(r.owned, params)
		data := normals(v * d)
		r.fail(ops.Upload(r.ctx, table, data))
		at, ids := r.ids(n, v)
		targets, _ := r.ids(n, d)
		y := r.graph.Embed(table, at)
		loss, each := r.graph.CrossEntropyEach(y, targets, nil)
		r.graph.Backward(loss, nil)
		r.graph.Output(each)
		r.expect(each, 1e-4, func(i int) float64 {
			row := data[int(ids[i])*d : (int(ids[i])+1)*d]
			return logSumExp(row) - float64(row[idBelow(i, d)])
		})
		r.expect(params.Grad(table), 1e-4, func(i int) float64 { return embedGradient(data, ids, i/d, i%d, d) })
	}}
}

// embedGradient is d loss / d table[row, column] of embedCase.
func embedGradient(table []float32, ids []int32, row, column, d int) float64 {
	x := table[row*d : (row+1)*d]
	p, sum := math.Exp(float64(x[column])-logSumExp(x)), 0.0
	for i, id := range ids {
		if int(id) == row {
			sum += p
			if int(idBelow(i, d)) == column {
				sum--
			}
		}
	}
	return sum / float64(len(ids))
}

// idBelow spreads the ids of positions i over [0, v).
func idBelow(i, v int) int32 { return int32(uint64(i) * 2654435761 % (1 << 32) * uint64(v) >> 32) }

func logSumExp(x []float32) float64 {
	var sum float64
	for _, v := range x {
		sum += math.Exp(float64(v)) // of normals: nothing to overflow
	}
	return math.Log(sum)
}

// crossEntropyCase is loss and gradient in one pass, in place, of logits (n, v).
// Two reads and one write are counted: the maximum must be known before the
// exponentials are summed.
func crossEntropyCase(dt ops.DType, n, v int) benchmark {
	stride := (v + 3) / 4 * 4
	return benchmark{shape: fmt.Sprintf("[%d %d]", n, v), parts: []part{{name: "cross-entropy " + dt.String(), kernels: "crossentropy", bytes: 3 * float64(n*stride*dt.Size())}}, build: func(r *running) {
		data := normals(n * v)
		x := r.tensor(dt, data, n, v)
		targets, ids := r.ids(n, v)
		r.graph.RequireGrad(x)
		logits := r.graph.Scale(x, 1) // a copy that the gradient may overwrite
		loss, each := r.graph.CrossEntropyEach(logits, targets, nil)
		r.graph.Backward(loss, nil)
		r.graph.Output(each)
		dx := r.graph.Grad(logits)
		r.graph.Output(dx)
		r.expect(each, 1e-4, func(i int) float64 { return logSumExp(data[i*v:(i+1)*v]) - float64(data[i*v+int(ids[i])]) })
		r.expectGradient(dx, data, ids, v)
	}}
}

// expectGradient checks that dx is (softmax(x) − one-hot)/n.
func (r *running) expectGradient(dx *ops.Tensor, x []float32, ids []int32, v int) {
	n := len(ids)
	lse := map[int]float64{}
	tolerance := 1e-5 / float64(n)
	if dx.DType() != ops.F32 {
		tolerance = 4e-3 / float64(n)
	}
	r.expect(dx, tolerance, func(i int) float64 {
		row := i / v
		if _, ok := lse[row]; !ok {
			lse[row] = logSumExp(x[row*v : (row+1)*v])
		}
		p := math.Exp(float64(x[i]) - lse[row])
		if i%v == int(ids[row]) {
			p--
		}
		return p / float64(n)
	})
}
