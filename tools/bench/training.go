package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// optimizerCase is clipping and AdamW of n parameters. The rows count, per f32
// parameter: norm 4 bytes (the gradient), AdamW 28 (gradient, two moments and
// value in; moments and value out), both together 32.
func optimizerCase(dt ops.DType, n int) benchmark {
	s := float64(dt.Size())
	norm, update := s*float64(n), (s+24)*float64(n)
	if dt != ops.F32 {
		update = (s + 16 + 8 + s) * float64(n) // the f32 master copy is read and written, the value written
	}
	name := dt.String()
	return benchmark{fmt.Sprintf("%s[%d]", dt, n), []part{
		{name: "norm " + name, kernels: "norm", bytes: norm},
		{name: "adamw " + name, kernels: "adamw", bytes: update},
		{name: "clip+adamw " + name, kernels: "norm clip adamw", bytes: norm + update},
	}, func(r *running) {
		params := ops.NewParams(r.dev, dt)
		w := params.Add("w", n)
		if err := params.Alloc(); err != nil {
			r.fail(err)
			return
		}
		r.owned = append(r.owned, params)
		data := normals(n)
		r.fail(ops.Upload(r.ctx, w, data))
		r.fail(ops.Upload(r.ctx, params.Grad(w), data))
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
		clip := math.Inf(1)
		r.expect(w, tolerance, func(i int) float64 {
			if math.IsInf(clip, 1) {
				clip = 1 / (norm2(data) + 1e-6)
			}
			return firstUpdate(hyper, float64(data[i]), float64(data[i])*min(clip, 1))
		})
	}}
}

func norm2(x []float32) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
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
	r := &running{dev: dev, ctx: context.Background(), graph: ops.NewGraph(dev)}
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
	perStep, submissions, err := r.replay(step, m.steps, run)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(ops.Upload(r.ctx, at, []uint32{uint32(m.steps + 1), 0, 0, 0}), update.Stage(step)); err != nil {
		return nil, err
	}
	times, err := step.Profile(r.ctx)
	if err != nil {
		return nil, err
	}
	st := step.Stats()
	return &stepRow{Name: m.name, Shape: m.shape(), Model: m.structure(), Wrong: wrong,
		Submissions: uint64(submissions), Dispatches: st.Dispatches, Barriers: st.Barriers,
		Nanos: float64(perStep), TokensPerSec: float64(batch*length) / perStep.Seconds(), times: times}, nil
}

// replay runs steps 1 to n and returns what one takes, in time and in submissions.
func (r *running) replay(step *ops.Step, n int, run func(k int) error) (perStep time.Duration, submissions int, err error) {
	before, start := r.dev.Stats().Submissions, time.Now()
	for k := range n {
		if err := run(1 + k); err != nil {
			return 0, 0, err
		}
	}
	if err := step.Wait(r.ctx); err != nil {
		return 0, 0, err
	}
	return time.Since(start) / time.Duration(n), (r.dev.Stats().Submissions - before) / n, nil
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
