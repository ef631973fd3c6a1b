package vk_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// attempt calls step, and once more if it ran out of memory and retry asks for it.
func attempt(retry bool, step func() error) error {
	err := step()
	if retry && errors.Is(err, vk.ErrOutOfMemory) {
		return step()
	}
	return err
}

// programSteps opens a device, doubles 1,000 values in each of three steps, and closes it. On the way it
// uses each kind of object: shared and large buffers, host memory, kernels, programs, timestamps, releases.
func programSteps(cache string, retry bool) (err error) {
	d, err := vk.Open(&vk.Options{CacheDir: cache})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := d.Close(); err == nil {
			err = closeErr
		}
		left := d.Stats()
		left.Submissions = 0
		if left != (vk.DeviceStats{}) {
			err = fmt.Errorf("after Close: %+v (%v)", left, err)
		}
	}()
	ctx := context.Background()
	const n, size = 1000, 4000
	do := func(step func() error) {
		if err == nil {
			err = attempt(retry, step)
		}
	}
	var x, y, large, host, spare *vk.Buffer
	buffer := func(b **vk.Buffer, size int64, create func(int64) (*vk.Buffer, error)) {
		do(func() (err error) { *b, err = create(size); return err })
	}
	buffer(&x, size, d.NewBuffer)
	buffer(&y, size, d.NewBuffer)
	buffer(&large, 33<<20, d.NewBuffer)
	buffer(&host, size, d.NewHostBuffer)
	buffer(&spare, size, d.NewBuffer)
	if err == nil {
		vk.Unmap(x) // so that the upload and the download go through staging
		vk.Unmap(large)
	}
	var scale, copier *vk.Kernel
	load := func(k **vk.Kernel, name string) {
		do(func() error {
			code, err := shaders.Load(name)
			if err == nil {
				*k, err = d.Kernel(name, code, map[uint32]uint32{0: 64})
			}
			return err
		})
	}
	load(&scale, "scale.f32")
	load(&copier, "copy")
	data := make([]byte, size)
	for i := range n {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(float32(i)))
	}
	do(func() error { return x.Upload(ctx, 0, data) })

	stamps := d.Info().Caps.TimestampPeriod > 0
	var double, keep, other *vk.Program
	program := func(p **vk.Program, record func(*vk.Program)) {
		do(func() error {
			*p = d.NewProgram()
			record(*p)
			err := (*p).End()
			if err != nil {
				(*p).Release()
			}
			return err
		})
	}
	groups := [3]uint32{4, 1, 1}
	program(&double, func(p *vk.Program) {
		if stamps {
			p.Timestamp()
		}
		p.Dispatch(scale, groups, words(uint32(n/4), float32(2)), x.Span(0, size), y.Span(0, size))
		p.Dispatch(copier, groups, words(uint32(n/4)), y.Span(0, size), x.Span(0, size))
		if stamps {
			p.Timestamp()
		}
	})
	program(&keep, func(p *vk.Program) {
		p.Copy(host.Span(0, size), x.Span(0, size))
		p.Copy(large.Span(32<<20, size), x.Span(0, size))
	})
	program(&other, func(p *vk.Program) { p.Fill(spare.Span(0, size), 1) })
	var last vk.Ticket
	for step := range 3 {
		do(func() (err error) { last, err = d.Submit(double, keep); return err })
		if step == 0 && err == nil {
			do(func() error { _, err := d.Submit(other); return err })
			spare.Release() // while it may be in use
			other.Release()
		}
	}
	do(func() error { return d.WaitTicket(ctx, last) })
	if stamps {
		do(func() error { _, err := double.Times(ctx); return err })
	}
	got := make([]byte, size)
	do(func() error { return large.Download(ctx, 32<<20, got) })
	do(func() error {
		for i := range n {
			want := math.Float32bits(8 * float32(i))
			a, b := binary.LittleEndian.Uint32(got[4*i:]), binary.LittleEndian.Uint32(host.Bytes()[4*i:])
			if a != want || b != want {
				return fmt.Errorf("value %d is %g and %g, want %g", i, math.Float32frombits(a), math.Float32frombits(b), 8*float32(i))
			}
		}
		return nil
	})
	return err
}

// trainingSteps trains a bigram table of 16 tokens for three steps with AdamW, clipping and loss scaling, and
// checks that the loss falls from that of a uniform guess.
func trainingSteps(cache string) (err error) {
	d, err := vk.Open(&vk.Options{CacheDir: cache})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := d.Close(); err == nil {
			err = closeErr
		}
	}()
	ctx := context.Background()
	const vocabulary, b, m = 16, 4, 8
	p := ops.NewParams(d, ops.BF16)
	table := p.Add("table", vocabulary, vocabulary)
	if err := p.Alloc(); err != nil {
		return err
	}
	defer p.Release()
	text := make([]uint16, 400)
	for i := range text {
		text[i] = uint16(3 * i % vocabulary)
	}
	tokens, err := ops.NewTensor(d, ops.U16, len(text))
	if err != nil {
		return err
	}
	defer tokens.Release()
	if err := ops.Upload(ctx, tokens, text); err != nil {
		return err
	}
	maxNorm := 1.0
	hyper := optim.DefaultHyper()
	hyper.LR = 0.1
	opt, err := optim.NewAdamW(p, &optim.Options{
		MaxNorm: &maxNorm,
		Scaler:  &optim.Scaler{Init: 1024},
		Groups:  []optim.Group{{Params: p.All(), Hyper: hyper}},
	})
	if err != nil {
		return err
	}
	defer opt.Release()
	g := ops.NewGraph(d)
	x, y, at := g.Batch(tokens, b, m, 7)
	loss := g.CrossEntropy(g.Embed(table, x), y, nil)
	g.Backward(loss, nil)
	update := opt.Record(g)
	g.Output(loss)
	step, err := g.Compile()
	if err != nil {
		return err
	}
	defer step.Close()
	losses := make([]float32, 3)
	for k := range losses {
		if err := ops.Upload(ctx, at, []uint32{uint32(k), 0, 0, 0}); err != nil {
			return err
		}
		if err := update.Stage(step); err != nil {
			return err
		}
		if err := step.Run(); err != nil {
			return err
		}
		if err := step.Wait(ctx); err != nil {
			return err
		}
		if losses[k], err = ops.Item(ctx, loss); err != nil {
			return err
		}
	}
	if math.Abs(float64(losses[0])-math.Log(vocabulary)) > 1e-3 || !(losses[2] < losses[1] && losses[1] < losses[0]) {
		return fmt.Errorf("losses %v do not fall from log %d", losses, vocabulary)
	}
	return nil
}
