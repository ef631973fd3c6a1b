package benchcmd

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// optimizerCases are of as many parameters as GPT-2 124M and TinyLlama 1.1B have.
func optimizerCases(c config) []benchmark {
	if c.quick {
		return nil
	}
	var list []benchmark
	for _, dt := range []ops.DType{ops.F32, ops.BF16} {
		for _, b := range []benchmark{optimizerCase(" gpt2", dt, 124439808/8, 8), optimizerCase(" llama", dt, 1100048384/64, 64)} {
			b.long = true
			list = append(list, b)
		}
	}
	return list
}

// optimizerCase is clipping and AdamW of tensors of n parameters each. The rows
// count, per f32 parameter: norm 4 bytes (the gradient), AdamW 28 (gradient, two
// moments and value in; moments and value out), both together 32.
func optimizerCase(label string, dt ops.DType, n, tensors int) benchmark {
	s, all := float64(dt.Size()), float64(n)*float64(tensors)
	norm, update := s*all, (s+24)*all
	if dt != ops.F32 {
		update = (s + 16 + 8 + s) * all // the f32 master copy is read and written, the value written
	}
	name := dt.String() + label
	return benchmark{shape: fmt.Sprintf("%s[%d]", dt, n*tensors), parts: []part{
		{name: "norm " + name, kernels: "norm", bytes: norm},
		{name: "adamw " + name, kernels: "adamw", bytes: update},
		{name: "clip+adamw " + name, kernels: "norm clip adamw", bytes: norm + update},
	}, memory: 16 * all, build: func(r *running) {
		params := ops.NewParams(r.dev, dt)
		for i := range tensors {
			params.Add(fmt.Sprint("w", i), n)
		}
		if err := params.Alloc(); err != nil {
			r.fail(err)
			return
		}
		r.owned = append(r.owned, params)
		for _, w := range params.All() {
			r.fill(w, values{})
			r.fill(params.Grad(w), values{})
		}
		r.served(params.Grad(params.All()[0]))
		one := 1.0
		hyper := optim.Hyper{LR: 0.5, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1}
		a, err := optim.NewAdamW(params, &optim.Options{MaxNorm: &one, Groups: []optim.Group{{Params: params.All(), Hyper: hyper}}})
		if err != nil {
			r.fail(err)
			return
		}
		r.owned = append(r.owned, a)
		update := a.Record(r.graph)
		r.stage = update.Stage
		tolerance := 1e-5
		if dt != ops.F32 {
			tolerance = 8e-3
		}
		clip := 1 / (math.Sqrt(float64(tensors))*math.Sqrt(values{}.squares(n)) + 1e-6)
		for _, w := range []*ops.Tensor{params.All()[0], params.All()[tensors-1]} {
			r.expect(w, tolerance, func(i int) float64 {
				return firstUpdate(hyper, values{}.at(i), values{}.at(i)*min(clip, 1))
			})
		}
	}}
}

// served lets every run update by the gradients that were filled, as those may that the host has uploaded: it uploads the first.
func (r *running) served(grad *ops.Tensor) {
	if r.err != nil {
		return
	}
	g := ops.NewImmediate(r.dev)
	if first := g.Rows(g.View(grad, grad.Len()/8, 8), 0, 1); g.Err() == nil {
		r.fail(ops.Upload(r.ctx, first, values{}.row(0, 8)))
	}
	r.fail(g.Err())
}

// firstUpdate is w after AdamW's first step with gradient g.
func firstUpdate(h optim.Hyper, w, g float64) float64 {
	m, v := (1-h.Beta1)*g, (1-h.Beta2)*g*g
	w -= h.LR * math.Sqrt(1-h.Beta2) / (1 - h.Beta1) * m / (math.Sqrt(v) + h.Eps)
	return w - h.LR*h.WeightDecay*w
}

// bigramStep measures what a user of the bigram model gets: sampling, loss,
// gradient, clipping and update, replayed with two steps in flight.
func bigramStep(dev *vk.Device, m model) (*stepRow, error) {
	r := newRunning(dev)
	defer r.release()
	return r.train(m)
}

func (r *running) train(m model) (*stepRow, error) {
	vocab, batch, length := m.cfg.Vocab, m.batch, m.cfg.Context
	params := ops.NewParams(r.dev, ops.F32)
	table := params.Add("table", vocab, vocab)
	if err := params.Alloc(); err != nil {
		return nil, err
	}
	r.owned = append(r.owned, params)
	one := 1.0
	adamw, err := optim.NewAdamW(params, &optim.Options{MaxNorm: &one})
	if err != nil {
		return nil, err
	}
	r.owned = append(r.owned, adamw)
	tokens, err := r.tokens(1<<16, vocab)
	if err != nil {
		return nil, err
	}
	g := r.graph
	x, y, at := g.Batch(tokens, batch, length, 1)
	loss := g.CrossEntropy(g.Embed(table, x), y, nil)
	g.Backward(loss, nil)
	g.Output(loss)
	update := adamw.Record(g)
	step, err := g.Compile()
	if err != nil {
		return nil, err
	}
	defer step.Close()

	run := func(k int) error {
		return errors.Join(ops.Upload(r.ctx, at, []uint32{uint32(k), 0, 0, 0}), update.Stage(step), step.Run())
	}
	if err := run(0); err != nil {
		return nil, err
	}
	first, err := ops.Item(r.ctx, loss)
	if err != nil {
		return nil, err
	}
	wrong := ""
	if want := math.Log(float64(vocab)); !(math.Abs(float64(first)-want) < 1e-5) {
		wrong = fmt.Sprintf("the first loss is %v, want log %d = %v", first, vocab, want)
	}
	perStep, host, submissions, err := r.replay(step, m.steps, run)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(ops.Upload(r.ctx, at, []uint32{uint32(m.steps + 1), 0, 0, 0}), update.Stage(step)); err != nil {
		return nil, err
	}
	row, err := m.row(r.ctx, step, perStep)
	if err != nil {
		return nil, err
	}
	row.Wrong, row.Host, row.Submissions, row.Kernels = wrong, float64(host), uint64(submissions), nil
	return row, nil
}

// replay runs steps 1 to n, two in flight, and returns what one takes, in time and in submissions. host is the least time that
// the processor takes to stage and submit one when the device is idle.
func (r *running) replay(step *ops.Step, n int, run func(k int) error) (perStep, host time.Duration, submissions int, err error) {
	before, start := r.dev.Stats().Submissions, time.Now()
	for k := range n {
		if err := run(1 + k); err != nil {
			return 0, 0, 0, err
		}
	}
	if err := step.Wait(r.ctx); err != nil {
		return 0, 0, 0, err
	}
	perStep, submissions = time.Since(start)/time.Duration(n), (r.dev.Stats().Submissions-before)/n
	host = perStep
	for range 5 {
		start := time.Now()
		err := run(n)
		host = min(host, time.Since(start))
		if err := errors.Join(err, step.Wait(r.ctx)); err != nil {
			return 0, 0, 0, err
		}
	}
	return perStep, host, submissions, nil
}

// tokens puts n ids below vocab on the device.
func (r *running) tokens(n, vocab int) (*ops.Tensor, error) {
	t, err := ops.NewTensor(r.dev, ops.U16, n)
	if err != nil {
		return nil, err
	}
	r.owned = append(r.owned, t)
	text := make([]uint16, n)
	for i := range text {
		text[i] = uint16(idBelow(i, vocab))
	}
	return t, ops.Upload(r.ctx, t, text)
}
