package benchcmd

import (
	"context"
	"fmt"
	"math"
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

	lists map[scaled]*ops.Tensor // the period of values

	stage  func(*ops.Step) error // before each run
	checks []func() error        // after the first run: are the results right?
}

func newRunning(dev *vk.Device) *running {
	return &running{dev: dev, ctx: context.Background(), graph: ops.NewGraph(dev), lists: map[scaled]*ops.Tensor{}}
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

// cases lists everything that bench measures, ceilings and training steps aside.
func cases(c config) []benchmark {
	n := c.bytes() / 4 // f32 values
	// What matters most comes first, for -limit.
	list := []benchmark{optimizerCase("", ops.F32, n, 1), optimizerCase("", ops.BF16, 2*n, 1)}
	for _, dt := range []ops.DType{ops.F32, ops.BF16} {
		for _, v := range []int{1000, 50257} {
			list = append(list, crossEntropyCase(dt, max(1, (c.bytes()+v*dt.Size()-1)/(v*dt.Size())), v))
		}
	}
	d := 1024
	if c.quick {
		d = 64
	}
	list = slices.Concat(list, matmulCases(c), layerCases(c), attentionCases(c), activationCases(c), modelCases(c), optimizerCases(c))
	return append(list, fillCase(ops.F32, n), fillCase(ops.BF16, 2*n),
		castCase(ops.F32, ops.BF16, n), castCase(ops.BF16, ops.F32, n), castCase(ops.F32, ops.F16, n),
		addCase(n), broadcastCase(n/64, 64), transposeCase(n/64, 64), sumCase(n), scaleCase(n), embedCase(n/d, min(d, n/d), d))
}

// plainCopy is the copy that comes to mind first: y[i] = x[i], 16 bytes for each
// invocation, in workgroups of 256, or of as many as the device has.
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
		x, y := r.filled(ops.F32, values{}, 4*n4), r.tensor(ops.F32, nil, 4*n4)
		c.Push, c.Args = struct{ N4 uint32 }{uint32(n4)}, []*ops.Tensor{x, y}
		caps := r.dev.Info().Caps
		c.Local = min(c.Local, caps.MaxInvocations, caps.MaxLocalSize[0]) // 0: chosen by ops
		r.graph.Dispatch("copy", c)
		r.expect(y, 0, values{}.at)
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
		x, y := r.filled(from, values{}, n), r.tensor(to, nil, n)
		r.graph.CastTo(x, y)
		r.expect(y, 0, values{}.at)
	}}
}

func addCase(n int) benchmark {
	return benchmark{shape: fmt.Sprintf("f32[%d]", n), parts: []part{{name: "add f32", kernels: "binary.", bytes: 12 * float64(n)}}, build: func(r *running) {
		x, y := r.filled(ops.F32, values{}, n), r.filled(ops.F32, values{}, n)
		r.expect(r.graph.Add(x, y), 0, func(i int) float64 { return 2 * values{}.at(i) })
	}}
}

// broadcastCase multiplies (n, d) by a row.
func broadcastCase(n, d int) benchmark {
	return benchmark{shape: fmt.Sprintf("f32[%d %d]", n, d), parts: []part{{name: "mul by a row f32", kernels: "binary.", bytes: 8 * float64(n*d)}}, build: func(r *running) {
		y := r.graph.Mul(r.filled(ops.F32, values{}, n, d), r.filled(ops.F32, values{}, d))
		r.expect(y, 1e-6, func(i int) float64 { return values{}.at(i) * values{}.at(i%d) })
	}}
}

// transposeCase transposes (n, d), d a multiple of four.
func transposeCase(n, d int) benchmark {
	return benchmark{shape: fmt.Sprintf("f32[%d %d]", n, d), parts: []part{{name: "transpose f32", kernels: "copy_strided.", bytes: 8 * float64(n*d)}}, build: func(r *running) {
		y := r.graph.Transpose(r.filled(ops.F32, values{}, n, d), 0, 1)
		r.expect(y, 0, func(i int) float64 { return values{}.at(i%n*d + i/n) })
	}}
}

func sumCase(n int) benchmark {
	const d = 1024
	return benchmark{shape: fmt.Sprintf("f32[%d %d]", n/d, d), parts: []part{{name: "row sum f32", kernels: "rowsum.", bytes: 4 * float64(n)}}, build: func(r *running) {
		y := r.graph.RowSum(r.filled(ops.F32, values{}, n/d, d))
		r.expect(y, 1e-4, func(i int) (sum float64) {
			for _, x := range (values{}).row(i*d, d) {
				sum += float64(x)
			}
			return sum
		})
	}}
}

func scaleCase(n int) benchmark {
	return benchmark{shape: fmt.Sprintf("f32[%d]", n), parts: []part{{name: "scale f32", kernels: "scale", bytes: 8 * float64(n)}}, build: func(r *running) {
		r.expect(r.graph.Scale(r.filled(ops.F32, values{}, n), 0.5), 0, func(i int) float64 { return values{}.at(i) / 2 })
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
		r.fill(table, values{})
		at, ids := r.ids(n, v)
		targets, _ := r.ids(n, d)
		y := r.graph.Embed(table, at)
		loss, each := r.graph.CrossEntropyEach(y, targets, nil)
		r.graph.Backward(loss, nil)
		r.expect(each, 1e-4, func(i int) float64 {
			row := values{}.row(int(ids[i])*d, d)
			return logSumExp(row) - float64(row[idBelow(i, d)])
		})
		r.expect(params.Grad(table), 1e-4, func(i int) float64 { return embedGradient(ids, i/d, i%d, d) })
	}}
}

// embedGradient is d loss / d table[row, column] of embedCase.
func embedGradient(ids []int32, row, column, d int) float64 {
	x := values{}.row(row*d, d)
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
		x := r.filled(dt, values{}, n, v)
		targets, ids := r.ids(n, v)
		r.graph.RequireGrad(x)
		logits := r.graph.Scale(x, 1) // a copy that the gradient may overwrite
		loss, each := r.graph.CrossEntropyEach(logits, targets, nil)
		r.graph.Backward(loss, nil)
		r.expect(each, 1e-4, func(i int) float64 { return logSumExp(values{}.row(i*v, v)) - values{}.at(i*v+int(ids[i])) })
		r.expectGradient(r.graph.Grad(logits), ids, v)
	}}
}

// expectGradient checks that dx is (softmax(x) − one-hot)/n, of x that holds values.
func (r *running) expectGradient(dx *ops.Tensor, ids []int32, v int) {
	n := len(ids)
	lse := map[int]float64{}
	tolerance := 1e-5 / float64(n)
	if dx.DType() != ops.F32 {
		tolerance = 4e-3 / float64(n)
	}
	r.expect(dx, tolerance, func(i int) float64 {
		row := i / v
		if _, ok := lse[row]; !ok {
			lse[row] = logSumExp(values{}.row(row*v, v))
		}
		p := math.Exp(values{}.at(i) - lse[row])
		if i%v == int(ids[row]) {
			p--
		}
		return p / float64(n)
	})
}
