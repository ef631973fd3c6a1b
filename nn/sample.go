package nn

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
)

// Sampler chooses the next token from the logits of a model. Its zero value
// always takes the most likely one.
//
// The options hold one after the other: the temperature shapes the distribution,
//
//	p[i] = exp(logit[i] / Temperature) / Σ exp(logit / Temperature)
//
// TopK keeps its most likely tokens, and TopP the fewest of those whose share of
// what is left reaches TopP. Of equal logits the lower id counts as the likelier.
// The same seed and logits give the same tokens, on every device and on the host:
// a weight exp((logit − largest)/Temperature) is a whole number of 2⁻³⁰, rounded
// down, so that a token less likely than that is never chosen, and what is added
// up and compared are such numbers.
type Sampler struct {
	// Temperature below 1 sharpens the distribution, above 1 flattens it. 0 takes
	// the most likely token.
	Temperature float64
	// TopK is how many tokens to choose from; 0 means all.
	TopK int
	// TopP in (0, 1] is the share of the probability to choose from; 0 means all,
	// as 1 does. One token is left at least.
	TopP float64
	// Vocab, when set, is how many ids there are to choose from: those below it.
	// Models often have more logits than their tokenizer has tokens; fewer are an error.
	Vocab int
	// Seed of the choices, read at the first call of Next.
	Seed uint64

	random rand.PCG // once seeded
	seeded bool
	ids    []int32 // candidates
}

// Validate returns an error that names the first impossible option.
func (s *Sampler) Validate() error {
	switch {
	case !(s.Temperature >= 0) || math.IsInf(s.Temperature, 1):
		return fmt.Errorf("nn: sampler: temperature is %v, want a number of at least 0", s.Temperature)
	case s.TopK < 0:
		return fmt.Errorf("nn: sampler: top k is %d, want at least 1, or 0 for all tokens", s.TopK)
	case !(s.TopP >= 0 && s.TopP <= 1):
		return fmt.Errorf("nn: sampler: top p is %v, want a number in [0, 1]", s.TopP)
	case s.Vocab < 0:
		return fmt.Errorf("nn: sampler: vocab is %d, want at least 1, or 0 for all tokens", s.Vocab)
	}
	return nil
}

// Next chooses a token. A logit of −inf is a token that is never chosen; NaN,
// +inf, and nothing but −inf are errors. After the first call with as many logits
// it allocates nothing.
func (s *Sampler) Next(logits []float32) (int32, error) {
	c, err := s.choice(len(logits))
	if err != nil {
		return 0, err
	}
	logits = logits[:c.vocab]
	best, err := likeliest(logits)
	if err != nil || c.rate == 0 {
		return best, err
	}
	c.random = s.draw()
	return s.pick(logits, best, c), nil
}

// pick chooses from logits, of which best is the likeliest.
func (s *Sampler) pick(logits []float32, best int32, c choice) int32 {
	weigh := func(id int32) uint64 { return uint64(weight(logits[best]-logits[id], c.rate)) }
	total := func() (sum uint64) {
		for _, id := range s.ids {
			sum += weigh(id)
		}
		return sum
	}
	s.ids = s.ids[:0]
	for id := range c.vocab {
		s.ids = append(s.ids, int32(id))
	}
	if c.topK < c.vocab {
		s.ids = fewest(s.ids, logits, uint64(c.topK), func(int32) uint64 { return 1 })
	}
	if c.topP != 0 {
		s.ids = fewest(s.ids, logits, share(total(), c.topP, true), weigh)
	}
	sum := total()
	return fewest(s.ids, logits, sum-share(sum, c.random, false), weigh)[0]
}

// share returns sum·part/2³², rounded down, or up.
func share(sum uint64, part uint32, up bool) uint64 {
	high, low := bits.Mul64(sum, uint64(part))
	whole := high<<32 | low>>32
	if up && uint32(low) != 0 {
		whole++
	}
	return whole
}

// choice is what a Sampler chooses by.
type choice struct {
	vocab, topK, topP, random uint32
	rate                      float32 // log₂(e)/Temperature; 0: the likeliest token
}

// write sets how for [ops.Graph.Sample], which is to write to a row of its results.
func (c choice) write(how []uint32, row int) {
	how[0], how[1], how[2], how[3], how[4], how[5] = c.vocab, c.topK, c.topP, c.random, math.Float32bits(c.rate), uint32(row)
}

// choice returns that of the options, for so many logits.
func (s *Sampler) choice(logits int) (c choice, err error) {
	if err := s.Validate(); err != nil {
		return c, err
	}
	if s.Vocab > logits {
		return c, fmt.Errorf("nn: sampler: vocab is %d, the model has only %d logits", s.Vocab, logits)
	}
	c.vocab = uint32(cmp.Or(s.Vocab, logits))
	c.topK = min(uint32(min(cmp.Or(s.TopK, logits), math.MaxInt32)), c.vocab)
	if s.TopP > 0 && s.TopP < 1 {
		c.topP = uint32(min(max(math.Round(s.TopP*0x1p32), 1), math.MaxUint32))
	}
	if s.Temperature > 0 {
		c.rate = float32(min(max(math.Log2E/s.Temperature, 0x1p-64), 0x1p64))
	}
	return c, nil
}

// draw returns the next random number. There is one per token, however many
// candidates there are: options don't shift the stream.
func (s *Sampler) draw() uint32 {
	if !s.seeded {
		const stream = 0x9E3779B97F4A7C15
		s.random.Seed(s.Seed, stream)
		s.seeded = true
	}
	return uint32(s.random.Uint64() >> 32)
}

// weight returns 2³⁰·2^−y, y = below·rate, rounded down: what is behind the product
// is on whole numbers, so that every device comes to the same.
func weight(below, rate float32) uint32 {
	y := below * rate
	if !(y < 30) {
		return 0
	}
	// Of y = n + 1 − f, the Taylor series of 2^f, shifted by n + 1.
	q := uint32(y * 0x1p26)
	f, sum := ^(q << 6), uint32(0)
	for _, term := range [...]uint32{109, 1419, 16377, 165394, 1431680, 10327387, 59597083, 257941248, 744261118, 1 << 30} {
		sum, _ = bits.Mul32(sum, f)
		sum += term
	}
	return sum >> (1 + q>>26)
}

// likeliest returns the lowest id of the largest logit.
func likeliest(logits []float32) (int32, error) {
	if len(logits) == 0 || len(logits) > math.MaxInt32 {
		return 0, fmt.Errorf("nn: sampler: %d logits", len(logits))
	}
	best := 0
	for i, l := range logits {
		if l != l || l > math.MaxFloat32 {
			return 0, badLogit(i, l)
		}
		if l > logits[best] {
			best = i
		}
	}
	if logits[best] < -math.MaxFloat32 {
		return 0, errNoLogit
	}
	return int32(best), nil
}

func badLogit(id int, l float32) error {
	return fmt.Errorf("nn: sampler: the logit of token %d is %v", id, l)
}

var errNoLogit = errors.New("nn: sampler: every logit is -Inf")

// fewest leaves the fewest of the likeliest ids that have at least mass target
// together, the least likely of them first. A heap gives them in order: of 50,257
// ids few are needed, and sorting all would cost more than the rest of the choice.
func fewest(ids []int32, logits []float32, target uint64, mass func(id int32) uint64) []int32 {
	for i := len(ids)/2 - 1; i >= 0; i-- {
		sink(ids, logits, i)
	}
	n, sum := len(ids), uint64(0)
	for n > 0 && sum < target {
		n--
		ids[0], ids[n] = ids[n], ids[0]
		sink(ids[:n], logits, 0)
		sum += mass(ids[n])
	}
	return append(ids[:0], ids[n:]...)
}

// sink moves the id at place i of a heap down to where it belongs.
func sink(heap []int32, logits []float32, i int) {
	likelier := func(a, b int) bool {
		x, y := logits[heap[a]], logits[heap[b]]
		return x > y || x == y && heap[a] < heap[b]
	}
	for {
		child := 2*i + 1
		if child >= len(heap) {
			return
		}
		if child+1 < len(heap) && likelier(child+1, child) {
			child++
		}
		if !likelier(child, i) {
			return
		}
		heap[i], heap[child] = heap[child], heap[i]
		i = child
	}
}
