package doctorcmd

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/lemnos-ml/lemnos/internal/pace"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// onDevice makes a probe of a check on the device that programs open.
func onDevice(name string, check func(context.Context, *vk.Device) (Check, error)) func(context.Context) []Check {
	return func(ctx context.Context) []Check {
		dev, err := vk.Open(nil)
		if err != nil {
			return []Check{fail(name, deviceAdvice(err), "%s", reason(err))}
		}
		c, err := check(ctx, dev)
		if closed := dev.Close(); err == nil {
			err = closed
		}
		if err != nil {
			c = fail(name, deviceAdvice(err), "%v", err)
		}
		return []Check{c}
	}
}

const wrongResult = "do not train on this device: install its driver's newest version, or choose another device with LEMNOS_DEVICE, and report this"

// measureTime is how long a rate is measured.
const measureTime = time.Second / 2

// checkMemory adds 64 MiB of numbers to others, again and again: whole numbers, whose sums are exact for 60,000 times. The slowest
// memory that cards have, DDR3 on 64 bits, has 14 GB/s.
func checkMemory(ctx context.Context, dev *vk.Device) (Check, error) {
	const name, n, slow = "memory", 16 << 20, 10e9
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(i % 251)
	}
	x, err := ops.NewTensor(dev, ops.F32, n)
	if err != nil {
		return Check{}, err
	}
	defer x.Release()
	if err := ops.Upload(ctx, x, values); err != nil {
		return Check{}, err
	}
	y, err := ops.NewTensor(dev, ops.F32, n)
	if err != nil {
		return Check{}, err
	}
	defer y.Release()
	g := ops.NewGraph(dev)
	g.AddTo(x, y) // y += x
	step, err := g.Compile()
	if err != nil {
		return Check{}, err
	}
	defer step.Close()
	seconds, err := pace.Of(ctx, step, measureTime)
	if err != nil {
		return Check{}, err
	}
	runs := float32(step.Runs())
	got := make([]float32, n)
	if err := ops.Download(ctx, y, got); err != nil {
		return Check{}, err
	}
	for i, v := range values {
		if want := v * runs; got[i] != want {
			return fail(name, wrongResult, "wrong: number %d is %v after %v sums, want %v", i, got[i], runs, want), nil
		}
	}
	rate := 3 * 4 * n / seconds // reads x and y, writes y
	c := good(name, "sums of 64 MiB at %.3g GB/s", rate/1e9)
	if dev.Info().Kind == vk.Discrete && rate < slow {
		c = warn(name, "look whether other programs use the card, whether it is in a power-saving state, and how it sits in its slot",
			"sums of 64 MiB at %.3g GB/s: a card's own memory has more", rate/1e9)
	}
	return c.with("bytes_per_second", math.Round(rate)), nil
}

// checkProduct multiplies matrices of whole numbers, whose sums are exact.
func checkProduct(ctx context.Context, dev *vk.Device) (Check, error) {
	const name, slow = "product", 50e9
	n := 512
	if kind := dev.Info().Kind; kind != vk.CPU {
		n = 2048
	}
	a, b := make([]float32, n*n), make([]float32, n*n)
	for i := range a {
		a[i], b[i] = float32(i%13-6), float32(i%11-5)
	}
	g := ops.NewGraph(dev)
	x, w := g.Input("x", ops.F32, n, n), g.Input("w", ops.F32, n, n)
	y := g.MatMulNT(x, w)
	g.Output(y)
	step, err := g.Compile()
	if err != nil {
		return Check{}, err
	}
	defer step.Close()
	for t, values := range map[*ops.Tensor][]float32{x: a, w: b} {
		if err := ops.Upload(ctx, t, values); err != nil {
			return Check{}, err
		}
	}
	seconds, err := pace.Of(ctx, step, measureTime)
	if err != nil {
		return Check{}, err
	}
	got := make([]float32, n*n)
	if err := ops.Download(ctx, y, got); err != nil {
		return Check{}, err
	}
	for i := 0; i < n*n; i += 997 { // prime: all rows and columns of tiles
		var want float64
		for k := range n {
			want += float64(a[i/n*n+k]) * float64(b[i%n*n+k])
		}
		if float64(got[i]) != want {
			return fail(name, wrongResult, "wrong: number %d is %v, want %v", i, got[i], want), nil
		}
	}
	rate := 2 * math.Pow(float64(n), 3) / seconds
	c := good(name, "f32 matrices of %d by %d at %.3g GFLOP/s", n, n, rate/1e9)
	if dev.Info().Kind == vk.Discrete && rate < slow {
		c = warn(name, "look whether other programs use the card, and whether it is in a power-saving state",
			"f32 matrices of %d by %d at %.3g GFLOP/s: two cores of a processor do as much", n, n, rate/1e9)
	}
	return c.with("flops_per_second", math.Round(rate)), nil
}

// checkMatrixCores tells what products and attention of 16-bit types run on.
func checkMatrixCores(_ context.Context, dev *vk.Device) (Check, error) {
	const name = "matrix cores"
	var list []string
	wrong := false
	for _, m := range ops.CheckMatrixCores(dev) {
		used := "not used"
		if m.Used {
			used = "used"
		}
		list = append(list, fmt.Sprintf("%s of %v %s: %s", m.Work, m.DType, used, m.Why))
		wrong = wrong || strings.HasPrefix(m.Why, "wrong")
	}
	switch {
	case len(list) == 0:
		return good(name, "none; products of 16-bit types run on what those of f32 do"), nil
	case wrong:
		return warn(name, "install the driver's newest version; training works meanwhile, more slowly", "%s", strings.Join(list, "; ")), nil
	}
	return good(name, "%s", strings.Join(list, "; ")), nil
}

// checkTraining trains a transformer to count, which it learns within these steps on any device.
func checkTraining(ctx context.Context, dev *vk.Device) (Check, error) {
	const name, steps = "training", 40
	ids := make([]uint16, 1000)
	for i := range ids {
		ids[i] = uint16('0' + i%10)
	}
	tokens, err := ops.NewTensor(dev, ops.U16, len(ids))
	if err != nil {
		return Check{}, err
	}
	defer tokens.Release()
	if err := ops.Upload(ctx, tokens, ids); err != nil {
		return Check{}, err
	}
	model, err := nn.NewTransformer(dev, ops.F32, nn.TransformerConfig{
		Vocab: 256, Context: 32, Layers: 1, Heads: 2, Width: 32, FFN: 64,
		Norm: "rmsnorm", NormEps: 1e-5, Activation: "swiglu", Positions: "rope", RopeTheta: 1e4, Init: "truncated_normal",
	}, 42)
	if err != nil {
		return Check{}, err
	}
	defer model.Params().Release()
	first, last, err := learn(ctx, dev, model, tokens, steps)
	if err != nil {
		return Check{}, err
	}
	if !(last < first/2) { // also where it is NaN
		return fail(name, wrongResult, "%d steps of a small transformer took the loss from %.3g to %.3g: it must fall below half", steps, first, last), nil
	}
	return good(name, "%d steps of a small transformer took the loss from %.3g to %.3g", steps, first, last), nil
}

// learn trains for some steps and returns the first loss and the last.
func learn(ctx context.Context, dev *vk.Device, model *nn.Transformer, tokens *ops.Tensor, steps uint32) (first, last float32, err error) {
	opt, err := optim.NewAdamW(model.Params(), &optim.Options{MaxNorm: new(1.0)})
	if err != nil {
		return 0, 0, err
	}
	defer opt.Release()
	opt.SetLR(1e-2)
	g := ops.NewGraph(dev)
	x, y, at := g.Batch(tokens, 4, 32, 42)
	loss := model.Loss(g, x, y)
	g.Backward(loss, nil)
	update := opt.Record(g)
	g.Output(loss)
	step, err := g.Compile()
	if err != nil {
		return 0, 0, err
	}
	defer step.Close()
	for t := range steps {
		if err := ops.Upload(ctx, at, []uint32{t, 0, 0, 0}); err != nil {
			return 0, 0, err
		}
		if err := update.Stage(step); err != nil {
			return 0, 0, err
		}
		if err := step.Run(); err != nil {
			return 0, 0, err
		}
		if last, err = ops.Item(ctx, loss); err != nil {
			return 0, 0, err
		}
		if t == 0 {
			first = last
		}
	}
	return first, last, nil
}
