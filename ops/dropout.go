package ops

import (
	"cmp"
	"math"
)

// Train turns [Graph.Dropout] on for the operations that follow. random is
// u32[4] on the device, written before each run (an Input that is not is an error): (k low, k high, seed low,
// seed high), k the number of the step.
func (g *Graph) Train(random *Tensor) {
	if g.ok("train", random) && g.check(random.dtype == U32 && random.Len() == 4, "train", "random is %v, want u32[4]", random) {
		g.random = random
		if random.mem.input != nil {
			g.Updater().StageEachRun(random, "Upload with the number of the step")
		}
	}
}

// Dropout returns x with each value set to 0 with probability p and scaled by
// 1/(1−p) otherwise; without [Graph.Train], or with p = 0, x itself. d x is d y
// with the same values dropped. A graph without Train evaluates: its Backward is an
// error where p is not 0 and the gradient would go through x.
//
// What is dropped is a pure function of seed and step, as given to Train, of
// which dropout of the graph it is, and of the position: the same on every
// device, and drawn again by Backward instead of kept. Value j of group i of four
// stays when word j of
//
//	philox4x32(counter = (i, k low, k high, number), key = (seed low, seed high))
//
// is at least p·2³²; groups are counted through x with its rows padded.
func (g *Graph) Dropout(x *Tensor, p float64) *Tensor {
	const op = "dropout"
	if !g.ok(op, x) || !g.check(x.dtype.Float(), op, "%v: want a float type", x) ||
		!g.check(p >= 0 && p < 1, op, "p is %v, want at least 0 and less than 1", p) {
		return g.badLike(x)
	}
	if p == 0 {
		return x
	}
	if g.random == nil {
		if g.wants(x) {
			g.undropped = cmp.Or(g.undropped, g.source().where)
		}
		return x
	}
	random := g.random
	push := dropoutPush{N4: uint32(x.len4()), Number: uint32(g.drops), Threshold: uint32(min(math.Round(p*0x1p32), math.MaxUint32)),
		Scale: float32(1 / (1 - p))}
	g.drops++
	dropped := func(x, y *Tensor) Call {
		return Call{Kernel: "dropout." + x.dtype.String(), Items: x.len4(), Push: push, Args: []*Tensor{x, random, y}, TakeOver: [2]int{2, 0}}
	}
	y := g.New(x.dtype, x.shape...)
	g.add(op, dropped(x, y))
	g.record(op, y, func(dy *Tensor) {
		g.overwriteGrads(op+" backward", func(dx ...*Tensor) Call { return dropped(dy, dx[0]) }, x)
	}, x)
	return y
}

// dropoutPush is the push block of kernel dropout.
type dropoutPush struct {
	N4, Number, Threshold uint32
	Scale                 float32
}
