package ops

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/shaders"
)

// AttentionOptions changes what Attention does; nil means the defaults.
type AttentionOptions struct {
	// Start, a u32[4] on the device, says in its first value where the queries
	// stand: q[:, t] is at position Start+t and attends to rows 0 to Start+t of k
	// and v, which then are caches (B, C, K, S) with C ≥ Start+T, see StoreRows.
	// Nothing flows back through such an attention.
	Start *Tensor
	// Window, where it is not 0, is how many keys a query sees at most: those at its
	// own position and before it (a sliding window).
	Window int
	// SoftCap, where it is not 0, bounds the logits s = q·k/√S to ±SoftCap, as
	// SoftCap·tanh(s/SoftCap).
	SoftCap float64
	// Mask says instead of causality which keys a query sees. Its last dimensions are
	// (T, T), query by key; dimensions before them are 1 or those of (B, H). An F32 is
	// added to the logits, after SoftCap: −∞ hides a key. An I32, U32 or U16 hides a
	// key where it is 0. A query that sees none has y = 0 and no gradient; none flows
	// back to the mask.
	Mask *Tensor
	// Packed, where it is not 0, is K of a q that holds k and v too, as one product
	// makes all three: q is (B, T, H+2K, S), of each position the H heads of q, then
	// those of k and those of v. k and v are nil then, or with Start the caches.
	Packed int
}

// attentionPush is the push block of the attention kernels.
type attentionPush struct {
	Batch, Queries, Capacity uint32
	Heads, Group             uint32
	HasStart                 uint32
	FirstHead, LastHead      uint32
	Scale, Cap               float32
	Window                   uint32
	Mask                     [3]uint32 // strides of batch, head and query
	QStep, KStep             uint32    // groups of four from one position to the next
	KFrom, VFrom             uint32    // where those of k and v begin
}

// Attention returns causal multi-head attention: for each head h of q
// (B, T, H, S), which reads head h·K/H of k and v (B, T, K, S), H a multiple of K,
//
//	y[t] = Σ over j ≤ t of softmax_j(q[t]·k[j]/√S) v[j]
//
// as (B, T, H, S). No T×T matrix is stored, forward or backward: of each row of
// logits only the logarithm of its sum of exponentials is kept. Options say which
// other keys a query sees, and what becomes of the logits.
//
//	ds[t,j] = p[t,j] (dy[t]·v[j] − dy[t]·y[t])/√S with p the softmax
//	dq[t] = Σ ds[t,j] k[j], dk[j] = Σ ds[t,j] q[t], dv[j] = Σ p[t,j] dy[t]
func (g *Graph) Attention(q, k, v *Tensor, o *AttentionOptions) *Tensor {
	const op = "attention"
	if o == nil {
		o = &AttentionOptions{}
	}
	if o.Packed != 0 && o.Start == nil {
		if !g.check(k == nil && v == nil, op, "k %v and v %v beside those that are packed in q: want nil", k, v) {
			return g.bad(F32)
		}
		k, v = q, q
	}
	if !g.ok(op, q, k, v) || !g.checkAttention(op, q, k, v, o) || !g.checkVisible(op, q, o) {
		return g.badLike(q)
	}
	a := &attention{q: q, k: k, v: v, o: o, heads: q.shape[2] - 2*o.Packed, keys: cmp.Or(o.Packed, k.shape[2])}
	a.y = g.New(q.dtype, q.shape[0], q.shape[1], a.heads, q.shape[3])
	a.stats = g.New(F32, 2*a.y.rows())
	g.add(op, g.attentionForward(a))
	if o.Start == nil {
		g.record(op, a.y, func(dy *Tensor) { g.attentionBackward(op+" backward", a, dy) }, q, k, v)
	}
	return a.y
}

func (g *Graph) checkAttention(op string, q, k, v *Tensor, o *AttentionOptions) bool {
	if !g.check(q.dtype.Float() && k.dtype == q.dtype && v.dtype == q.dtype, op, "q %v, k %v, v %v: want one float type", q, k, v) ||
		!g.check(len(q.shape) == 4 && len(k.shape) == 4 && slices.Equal(k.shape, v.shape), op, "q %v, k %v, v %v: want (B, T, H, S), and (B, T, K, S) twice", q, k, v) ||
		!g.check(q.shape[0] == k.shape[0] && q.shape[3] == k.shape[3], op, "q %v, k %v: batch or head sizes differ", q, k) ||
		!g.checkHeads(op, q, k, o) ||
		!g.check(q.shape[3] <= MaxHeadSize, op, "q %v: heads of %d values, want at most %d", q, q.shape[3], MaxHeadSize) {
		return false
	}
	if o.Start == nil {
		return g.check(q.shape[1] == k.shape[1], op, "q %v, k %v: %d and %d positions without Start", q, k, q.shape[1], k.shape[1])
	}
	return g.ok(op, o.Start) && g.checkStart(op, o.Start) &&
		g.check(q.shape[1] <= k.shape[1], op, "q %v, k %v: %d positions do not fit %d", q, k, q.shape[1], k.shape[1])
}

// checkHeads checks the numbers of heads.
func (g *Graph) checkHeads(op string, q, k *Tensor, o *AttentionOptions) bool {
	if o.Packed == 0 {
		return g.check(q.shape[2]%k.shape[2] == 0, op, "q %v, k %v: %d heads are no multiple of %d", q, k, q.shape[2], k.shape[2])
	}
	heads := q.shape[2] - 2*o.Packed
	return g.check(o.Packed > 0 && heads > 0 && heads%o.Packed == 0, op, "q %v with %d packed heads of k and of v: %d are left, want a multiple", q, o.Packed, heads) &&
		g.check(k == q || k.shape[2] == o.Packed, op, "cache %v of %d packed heads", k, o.Packed)
}

// leastNormal is the least positive f32 that devices need not take for 0.
const leastNormal = 0x1p-126

// checkVisible checks what the options say about keys and logits.
func (g *Graph) checkVisible(op string, q *Tensor, o *AttentionOptions) bool {
	if !g.check(o.Window >= 0, op, "window of %d keys, want at least 1, or 0 for all", o.Window) ||
		!g.check(o.SoftCap == 0 || float32(o.SoftCap) >= leastNormal && float32(o.SoftCap) <= math.MaxFloat32, op, "soft cap is %v, want a positive f32, or 0 for none", o.SoftCap) {
		return false
	}
	m := o.Mask
	if m == nil {
		return true
	}
	if !g.ok(op, m) || !g.check(m.dtype == F32 || isIndex(m), op, "mask %v: want f32 or an integer type", m) ||
		!g.check(o.Start == nil, op, "a mask with Start: caches are masked by positions alone") ||
		!g.check(o.Window == 0, op, "a mask with a window: let the mask hide what is outside the window") ||
		!g.check(!g.wants(m), op, "mask %v has a gradient, which can't flow back to it", m) {
		return false
	}
	lead, heads := len(m.shape)-2, q.shape[2]-2*o.Packed
	fits := lead >= 0 && lead <= 2 && m.shape[lead] == q.shape[1] && m.shape[lead+1] == q.shape[1]
	for i := 0; fits && i < lead; i++ {
		d := m.shape[i]
		fits = d == 1 || d == []int{q.shape[0], heads}[i+2-lead]
	}
	return g.check(fits, op, "mask %v for q %v: want (T, T), after dimensions of 1 or of (B, H)", m, q)
}

// MaxHeadSize is the largest S of Attention, which its kernels' registers are meant for.
const MaxHeadSize = 256

func (g *Graph) checkStart(op string, start *Tensor) bool {
	return g.check(start.dtype == U32 && slices.Equal(start.shape, []int{4}), op, "start %v: want u32[4]", start)
}

// attention is one call of Attention.
type attention struct {
	q, k, v     *Tensor // one tensor where all are packed
	o           *AttentionOptions
	heads, keys int     // H, K
	y           *Tensor // (B, T, H, S)
	stats       *Tensor // (B, H, T, 2): log Σ exp of the logits, dy·y
}

func (a *attention) push() attentionPush {
	p := attentionPush{Batch: uint32(a.q.shape[0]), Queries: uint32(a.q.shape[1]), Capacity: uint32(a.k.shape[1]),
		Heads: uint32(a.heads), Group: uint32(a.heads / a.keys), Scale: float32(1 / math.Sqrt(float64(a.q.shape[3]))),
		Cap: float32(a.o.SoftCap), Window: uint32(a.o.Window), QStep: uint32(a.q.shape[2] * a.q.stride4()), KStep: uint32(a.k.shape[2] * a.k.stride4())}
	if a.k == a.q && a.o.Packed != 0 {
		p.KFrom, p.VFrom = uint32(a.heads*a.q.stride4()), uint32((a.heads+a.keys)*a.q.stride4())
	}
	if m := a.o.Mask; m != nil {
		row := m.cols()
		if m.dtype.Float() {
			row = 4 * m.stride4()
		}
		strides := maskStrides(m, row)
		p.Mask = [3]uint32{uint32(strides[0]), uint32(strides[1]), uint32(row)}
	}
	return p
}

// maskStrides returns the values from the mask of one batch, and of one head, to
// the next, 0 where it is for all.
func maskStrides(m *Tensor, row int) (strides [2]int) {
	step := row * m.shape[len(m.shape)-2]
	for i, d := range slices.Backward(m.shape[:len(m.shape)-2]) {
		if d > 1 {
			strides[i+4-len(m.shape)] = step
			step *= d
		}
	}
	return strides
}

// spec adds to spec how this attention differs from plain causal one.
func (a *attention) spec(spec map[uint32]uint32) map[uint32]uint32 {
	switch {
	case a.o.Mask != nil && a.o.Mask.dtype == F32:
		spec[shaders.SpecVisible] = shaders.AddedMask
	case a.o.Mask != nil:
		spec[shaders.SpecVisible] = shaders.BooleanMask
		maps.Copy(spec, idSpec(a.o.Mask))
	case a.o.Window > 0 && a.o.Window < a.k.shape[1]:
		spec[shaders.SpecVisible] = shaders.Window
	}
	if a.o.SoftCap > 0 {
		spec[shaders.SpecCapped] = 1
	}
	return spec
}

// mask is what kernels bind as one: any tensor where there is none.
func (a *attention) mask() *Tensor { return cmp.Or(a.o.Mask, a.q) }

// maxLaneRows is how many rows a lane has at most, in attention on processors,
// and maxLanes4 how long those are, in groups of four values: more takes lavapipe
// long to compile and is no faster.
const (
	maxLaneRows = 4
	maxLanes4   = 32
)

// lanes reports whether rows are shared among the lanes of a subgroup.
func (a *attention) lanes(g *Graph) bool { return g.tune.lanes && a.q.stride4() <= maxLanes4 }

// turns is how many turns the loops of an invocation make, at most, over n positions.
// The kernels that share rows in memory also load and multiply these in loops: heads of
// 256 values in 161 turns for 32 positions, and each loop's last one is counted.
func (a *attention) turns(g *Graph, n int) int {
	if a.lanes(g) {
		return n/4 + 1
	}
	return 9*n + 1
}

// call is a call of kernel, with a workgroup for each tile of rows in each of heads
// heads: on matrix cores the attention_coop kernel, and where attention shares rows
// among lanes the attention_lanes kernel, whose lanes hold so many rows of a head each
// that these are about tile4 groups of four values.
func (a *attention) call(g *Graph, kernel string, heads, tile4 int, push attentionPush, args ...*Tensor) Call {
	s4, n := a.q.stride4(), a.q.shape[1]
	if long := max(push.Queries, push.Capacity); g.tune.maxTurns <= lavapipeTurns {
		g.check(a.turns(g, int(long)) <= lavapipeTurns, "attention", "%v, %v: %d positions are more than loops turn for on this device", a.q, a.k, long)
	}
	tile, local, spec := 0, 64, map[uint32]uint32{shaders.SpecS4: uint32(s4)}
	if d, ok := g.coopDivide(a, kernel); ok {
		kernel = strings.Replace(kernel, "attention", "attention_coop", 1)
		tile, local = d.rows(), d.local()
		d.spec(spec)
		mask := slices.Index(args, a.stats) + 1 // which these kernels don't have
		args = slices.Delete(args, mask, mask+1)
	} else if a.lanes(g) {
		kernel, local = strings.Replace(kernel, "attention", "attention_lanes", 1), int(g.tune.subgroup)
		rows := min(max(1, tile4/s4), ceilDiv(n, local), maxLaneRows)
		tile, spec[shaders.SpecLaneRows] = local*rows, uint32(rows)
	} else {
		each, whole := g.tune.attentionTile(kernel, s4, a.q.shape[0]*heads, n, g.dev.Info().Caps.SharedMemory)
		tile, spec[shaders.SpecOwn] = 8*each, uint32(each)
		if whole {
			spec[shaders.SpecWhole] = 1
		}
		if g.tune.fewRegisters {
			spec[shaders.SpecRolled] = 1
		}
	}
	return Call{Kernel: kernel + "." + a.q.dtype.String(), Groups: a.q.shape[0] * heads * ceilDiv(n, tile), Local: uint32(local),
		Spec: a.spec(spec), Push: push, Args: args}
}

func (g *Graph) attentionForward(a *attention) Call {
	push, start := a.push(), a.q // any tensor: without HasStart it is not read
	if a.o.Start != nil {
		push.HasStart, start = 1, a.o.Start
		if a.q.shape[1] <= fewQueries {
			share, local := g.tune.decodeShare(a.q.stride4())
			local = g.widen(local, func(local uint32) int { return ceilDiv(int(push.Capacity*share), int(local)) + 2 })
			return Call{Kernel: "attention_decode." + a.q.dtype.String(), Groups: a.y.rows(), Local: local,
				Spec: a.spec(map[uint32]uint32{shaders.SpecS4: uint32(a.q.stride4()), shaders.SpecShare: share}), Push: push, Args: []*Tensor{a.q, a.k, a.v, start, a.y}}
		}
	}
	return a.call(g, "attention", a.heads, 64, push, a.q, a.k, a.v, start, a.y, a.stats, a.mask())
}

// decodeShare returns how many invocations of attention_decode share a key of s4 groups, so that each keeps few enough of these,
// and how many a workgroup has: 64 keys at a time, if so many are allowed.
func (t *tuning) decodeShare(s4 int) (share, local uint32) {
	for share = 1; s4 > int(share)*t.decodeKeep4; share *= 2 {
	}
	return share, min(t.local, 64*share)
}

// fewQueries is up to how many positions a workgroup for each row is faster than
// one for a tile of rows.
const fewQueries = 4

// attentionBackward appends d q, whose kernel also finds the dy·y that the others need, so
// it runs for them alone too.
func (g *Graph) attentionBackward(op string, a *attention, dy *Tensor) {
	var dq *Tensor
	var add bool
	if g.wants(a.q) {
		dq, add = g.grad(a.q)
	} else {
		dq = g.New(a.q.dtype, a.q.shape...)
	}
	c := a.call(g, "attention_dq", a.heads, 32, a.push(), a.q, a.k, a.v, dy, a.stats, a.mask(), dq, a.y)
	c.Spec[shaders.SpecAddFirst] = b2u(add)
	g.add(op, c)
	if g.wants(a.k) || g.wants(a.v) {
		g.attentionBackwardKeys(op, a, dy, add)
	}
}

// attentionBackwardKeys appends d k and d v. One kernel makes both; what is not
// wanted, or must be added to the other because k is v, goes to memory of its own. add
// is for packed ones: whether d q was added to what was there.
func (g *Graph) attentionBackwardKeys(op string, a *attention, dy *Tensor, add bool) {
	var dk, dv *Tensor
	var addK, addV bool
	if a.o.Packed != 0 {
		dk, _ = g.grad(a.q)
		dv, addK, addV = dk, add, add
	} else {
		dk, dv = g.New(a.k.dtype, a.k.shape...), g.New(a.v.dtype, a.v.shape...)
		if g.wants(a.k) {
			dk, addK = g.grad(a.k)
		}
		if g.wants(a.v) && a.v != a.k {
			dv, addV = g.grad(a.v)
		}
	}
	// An invocation goes through the queries of all heads that share its keys: where
	// that would be too many turns of its loops, several calls add up.
	push := a.push()
	heads := min(push.Group, max(1, g.tune.maxTurns/uint32(a.turns(g, int(push.Queries)))))
	for push.FirstHead = 0; push.FirstHead < push.Group; push.FirstHead += heads {
		push.LastHead = min(push.FirstHead+heads, push.Group)
		c := a.call(g, "attention_dkv", a.keys, 32, push, a.q, a.k, a.v, dy, a.stats, a.mask(), dk, dv)
		c.Spec[shaders.SpecAddFirst], c.Spec[shaders.SpecAddSecond] = b2u(addK), b2u(addV)
		g.add(op, c)
		addK, addV = true, true
	}
	if a.v == a.k && a.o.Packed == 0 {
		g.addGrad(a.v, dv)
	}
}

// StoreRows writes x (B, T, K, S) to rows start to start+T−1 of cache
// (B, C, K, S), a persistent tensor of the same type: cache[b, start+t] = x[b, t].
// start is a u32[4] on the device, of which the first value counts. Rows from C
// on are not written. No gradient flows back.
func (g *Graph) StoreRows(cache, x, start *Tensor) {
	const op = "store rows"
	if !g.ok(op, cache, x, start) || !g.checkStart(op, start) ||
		!g.check(x.dtype.Float() && cache.dtype == x.dtype && len(x.shape) == 4 && len(cache.shape) == 4, op, "%v to %v: want one float type and four dimensions", x, cache) ||
		!g.check(x.shape[0] == cache.shape[0] && slices.Equal(x.shape[2:], cache.shape[2:]), op, "%v to %v: shapes differ beside the positions", x, cache) {
		return
	}
	n4 := uint32(x.shape[2] * x.stride4())
	g.add(op, Call{Kernel: "store_rows." + x.dtype.String(), Items: x.len4(), Push: storePush{uint32(x.shape[0]), uint32(x.shape[1]), uint32(cache.shape[1]), n4, n4, 0},
		Args: []*Tensor{x, start, cache, cache}})
}

// StorePacked is [Graph.StoreRows] of the keys and the values of qkv (B, T, H+2K, S), packed
// as [AttentionOptions] has it, to caches (B, C, K, S) of both.
func (g *Graph) StorePacked(keys, values, qkv, start *Tensor) {
	const op = "store packed"
	if !g.checkStored(op, keys, values, qkv, start) {
		return
	}
	rows, n4, step := qkv.shape[0]*qkv.shape[1], keys.shape[2]*keys.stride4(), qkv.shape[2]*qkv.stride4()
	g.add(op, Call{Kernel: "store_rows." + qkv.dtype.String(), Items: rows * n4, Spec: map[uint32]uint32{shaders.SpecBoth: 1},
		Push: storePush{uint32(qkv.shape[0]), uint32(qkv.shape[1]), uint32(keys.shape[1]), uint32(n4), uint32(step), uint32(step - 2*n4)}, Args: []*Tensor{qkv, start, keys, values}})
}

// checkStored checks packed heads, and the caches that their keys and values are for.
func (g *Graph) checkStored(op string, keys, values, qkv, start *Tensor) bool {
	return g.ok(op, keys, values, qkv, start) && g.checkStart(op, start) &&
		g.check(qkv.dtype.Float() && keys.dtype == qkv.dtype && values.dtype == qkv.dtype && len(qkv.shape) == 4 && len(keys.shape) == 4 && slices.Equal(keys.shape, values.shape), op,
			"%v to %v and %v: want one float type, four dimensions and caches of one shape", qkv, keys, values) &&
		g.check(qkv.shape[0] == keys.shape[0] && qkv.shape[3] == keys.shape[3] && qkv.shape[2] > 2*keys.shape[2], op, "%v to %v: shapes differ beside positions and heads", qkv, keys)
}

// storePush is the push block of kernel store_rows.
type storePush struct{ Batch, Rows, Capacity, N4, Step, From uint32 }
