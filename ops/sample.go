package ops

import (
	"slices"

	"github.com/lemnos-ml/lemnos/shaders"
)

// samplePasses is how often kernel sample goes through the logits at most, and
// sampleTurns how many turns its other loops make.
const (
	samplePasses = 24
	sampleTurns  = 6000
)

// Sample chooses a token from logits (1, V), of a float type, as package nn's
// Sampler does, to the bit. It writes the id to token, one I32, and (id, what is
// wrong) to row how[5] of chosen, an I32 (N, 2), both with memory of their own: 0 is
// a good choice, else token is 0, and id that of the first logit that is NaN
// ([SampledNaN]) or +∞ ([SampledInf]), or all logits are −∞ ([SampledNone]).
//
// how, U32[8], is written before each run: how many ids there are to choose from,
// at most V; how many of the likeliest, at least 1; the share of the weight that
// the likeliest have, times 2³², or 0 for all; the random number, of 2³²; the bits of
// log₂(e)/temperature as f32, within 2^±64, or 0 for the likeliest token; a row of chosen.
func (g *Graph) Sample(logits, how, token, chosen *Tensor) {
	const op = "sample"
	if !g.ok(op, logits, how, token, chosen) ||
		!g.check(logits.dtype.Float() && len(logits.shape) == 2 && logits.rows() == 1 && logits.cols() <= maxSampled, op,
			"logits %v: want (1, V), a float type and V at most %d", logits, maxSampled) ||
		!g.check(how.dtype == U32 && slices.Equal(how.shape, []int{8}), op, "%v: want u32[8]", how) ||
		!g.check(token.dtype == I32 && token.Len() == 1 && token.mem.graph == nil, op, "token %v: want one i32 with memory of its own", token) ||
		!g.check(chosen.dtype == I32 && len(chosen.shape) == 2 && chosen.cols() == 2 && chosen.mem.graph == nil, op,
			"chosen %v: want i32 (N, 2) with memory of its own", chosen) {
		return
	}
	g.add(op, Call{Kernel: "sample." + logits.dtype.String(), Groups: 1, Local: g.sampleLocal(logits.stride4()),
		Push: struct{ Vocab, Slots uint32 }{uint32(logits.cols()), uint32(chosen.shape[0])}, Args: []*Tensor{logits, how, token, chosen}})
}

// maxSampled is the largest vocabulary of Sample: its kernel has 24 bits for an id.
const maxSampled = 1 << 24

// What Sample says is wrong with logits.
const (
	SampledNaN  = shaders.NotANumber
	SampledInf  = shaders.Infinite
	SampledNone = shaders.Nothing
)

// sampleLocal returns the size of the one workgroup that goes through n4 groups of
// logits: no larger than it has use for, unless loops would make too many turns.
func (g *Graph) sampleLocal(n4 int) uint32 {
	local := min(g.tune.sampleLocal, uint32(powerOfTwo(max(n4, int(g.tune.local)))))
	return g.widen(local, func(local uint32) int { return samplePasses*ceilDiv(n4, int(local)) + sampleTurns })
}
