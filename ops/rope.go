package ops

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"

	"github.com/lemnos-ml/lemnos/shaders"
)

// RoPEOptions changes what RoPE does; nil means the defaults.
type RoPEOptions struct {
	// Theta is the base of the angles; 0 means 10,000.
	Theta float64
	// HalfSplit pairs value i with value i + S/2, as Hugging Face's models do,
	// instead of 2i with 2i + 1, as Llama's original code and CS336 do. It is fast
	// where S is a multiple of 8.
	HalfSplit bool
	// Start, a u32[4] on the device, says in its first value at which position
	// x[:, 0] is; nil means 0.
	Start *Tensor
	// Positions bounds the positions when Start is set: angles are known for 0 to
	// Positions−1.
	Positions int
	// Heads, where it is not 0, is how many heads of each position are turned, from
	// the first on: of packed ones those of q and k, see [AttentionOptions].
	Heads int
}

// ropePush is the push block of kernel rope.
type ropePush struct {
	N, T, H, Turned, S, Positions, HasStart uint32
	Sign                                    float32
	Y4, Capacity                            uint32
}

// ropeTable names a table of angles that a graph has made.
type ropeTable struct {
	positions, size int
	theta           float64
	halfSplit       bool
}

// RoPE returns x (B, T, H, S), S even, with rotary position embedding (Su et al.
// 2021): at position t, pair i of each head turns by the angle t·Theta^(−2i/S).
// Cosines and sines are computed in float64 and rounded once, so angles are
// right at any position.
//
//	(u, v) → (u·cos − v·sin, u·sin + v·cos); d x turns d y back
func (g *Graph) RoPE(x *Tensor, o *RoPEOptions) *Tensor {
	const op = "rope"
	t, ok := g.ropeTable(op, x, o)
	if !ok {
		return g.badLike(x)
	}
	turned := func(x *Tensor, sign float32) *Tensor {
		y := g.New(x.dtype, x.shape...)
		g.add(op, g.ropeCall(x, t, o, y, sign))
		return y
	}
	y := turned(x, 1)
	g.record(op, y, func(dy *Tensor) { g.addGrad(x, turned(dy, -1)) }, x)
	return y
}

// RoPEStored is [Graph.RoPE] of the queries and keys of qkv (B, T, H+2K, S), packed as
// [AttentionOptions] has it, and [Graph.StorePacked] in one pass: it returns the queries,
// (B, T, H, S), and the keys and values are in the caches, from o.Start on. Nothing flows back.
func (g *Graph) RoPEStored(keys, values, qkv *Tensor, o *RoPEOptions) *Tensor {
	const op = "rope, store packed"
	if !g.ok(op, qkv) || !g.check(o != nil && o.Start != nil && o.Heads == 0, op, "without Start, or with Heads, which the caches tell") ||
		!g.checkStored(op, keys, values, qkv, o.Start) {
		return g.badLike(qkv)
	}
	heads, kv := qkv.shape[2], keys.shape[2]
	turned := *o
	turned.Heads = heads - kv
	t, ok := g.ropeTable(op, qkv, &turned)
	if !ok {
		return g.badLike(qkv)
	}
	y := g.New(qkv.dtype, qkv.shape[0], qkv.shape[1], heads-2*kv, qkv.shape[3])
	c := g.ropeCall(qkv, t, &turned, y, 1)
	push := c.Push.(ropePush)
	push.Y4, push.Capacity = uint32((heads-2*kv)*qkv.stride4()), uint32(keys.shape[1])
	c.Push, c.Spec[shaders.SpecStore], c.TakeOver = push, 1, [2]int{}
	c.Args[4], c.Args[5] = keys, values
	g.add(op, c)
	return y
}

// ropeTable checks what RoPE takes, and returns the name of the angles.
func (g *Graph) ropeTable(op string, x *Tensor, o *RoPEOptions) (t ropeTable, ok bool) {
	if o == nil {
		o = &RoPEOptions{}
	}
	theta := o.Theta
	if theta == 0 {
		theta = 1e4
	}
	if !g.ok(op, x) || !g.check(x.dtype.Float() && len(x.shape) == 4 && x.cols()%2 == 0, op, "%v: want (B, T, H, S), a float type and an even S", x) ||
		!g.check(0 <= o.Heads && o.Heads <= x.shape[2], op, "%v: %d heads to turn", x, o.Heads) ||
		!g.check(theta > 0 && !math.IsInf(theta, 1), op, "theta is %v, want a positive number", o.Theta) {
		return t, false
	}
	t = ropeTable{x.shape[1], x.cols(), theta, o.HalfSplit}
	if o.Start != nil {
		if !g.ok(op, o.Start) || !g.checkStart(op, o.Start) ||
			!g.check(o.Positions >= x.shape[1], op, "%v: Positions is %d, want at least %d", x, o.Positions, x.shape[1]) {
			return t, false
		}
		t.positions = o.Positions
	}
	g.angles(op, t)
	return t, g.err == nil
}

// ropeCall turns x to y. Invocations side by side take the groups of a head that
// have angles of their own, rounded up to a power of two.
func (g *Graph) ropeCall(x *Tensor, t ropeTable, o *RoPEOptions, y *Tensor, sign float32) Call {
	if o == nil {
		o = &RoPEOptions{}
	}
	heads, positions, start, table := x.shape[2], x.shape[0]*x.shape[1], o.Start, g.ropes[t]
	push := ropePush{N: uint32(positions), T: uint32(x.shape[1]), H: uint32(heads), Turned: uint32(cmp.Or(o.Heads, heads)), S: uint32(t.size),
		Positions: uint32(t.positions), Sign: sign}
	if start == nil {
		start = table // unread
	} else {
		push.HasStart = 1
	}
	own, pairs, takeOver := x.stride4(), uint32(shaders.Neighbors), [2]int{3, 0}
	switch {
	case t.halfSplit && t.size%8 == 0:
		own, pairs = own/2, shaders.Halves
	case t.halfSplit: // a group of y needs several of x
		pairs, takeOver = shaders.OddHalves, [2]int{}
	}
	columns := powerOfTwo(own)
	groups := columns * heads
	turns := func(local uint32) int { return 3 * rowTurns(groups, local) } // a group of OddHalves is a loop
	local := g.widen(g.tune.sharers(groups, 1, g.tune.local), turns)
	return Call{Kernel: "rope." + x.dtype.String(), Groups: g.tune.strides(positions, turns(local)), Local: local,
		Spec: map[uint32]uint32{shaders.SpecPairs: pairs, shaders.SpecColumns: min(uint32(columns), local)}, Push: push,
		Args: []*Tensor{x, table, start, y, y, y}, TakeOver: takeOver}
}

// powerOfTwo returns the least power of two that is at least n.
func powerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }

// angles returns the table of cosines and sines that t names, made once per graph.
func (g *Graph) angles(op string, t ropeTable) *Tensor {
	if table := g.ropes[t]; table != nil {
		return table
	}
	values := make([]float32, t.positions*t.size)
	for p := range t.positions {
		row := values[p*t.size:][:t.size]
		for i := range t.size / 2 {
			sin, cos := math.Sincos(float64(p) * math.Pow(t.theta, -2*float64(i)/float64(t.size)))
			if t.halfSplit {
				row[i], row[i+t.size/2] = float32(cos), float32(sin)
			} else {
				row[2*i], row[2*i+1] = float32(cos), float32(sin)
			}
		}
	}
	table, err := NewTensor(g.dev, F32, t.positions, t.size)
	if err == nil {
		g.owned = append(g.owned, table)
		err = Upload(background, table, values)
	}
	if err != nil {
		g.fail(op, "%w", fmt.Errorf("table of %d positions: %w", t.positions, err))
		return table
	}
	if g.ropes == nil {
		g.ropes = map[ropeTable]*Tensor{}
	}
	g.ropes[t] = table
	return table
}
