package nn

import (
	"errors"
	"fmt"
	"math"
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
// The same seed and logits give the same tokens.
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

	random *rand.PCG
	ids    []int32   // candidates
	weight []float64 // of the candidates, largest possible 1
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
// +inf, and nothing but −inf are errors. The arithmetic is float64. After the
// first call with as many logits it allocates nothing.
func (s *Sampler) Next(logits []float32) (int32, error) {
	if err := s.Validate(); err != nil {
		return 0, err
	}
	if s.Vocab > len(logits) {
		return 0, fmt.Errorf("nn: sampler: vocab is %d, the model has only %d logits", s.Vocab, len(logits))
	}
	if s.Vocab > 0 {
		logits = logits[:s.Vocab]
	}
	best, err := likeliest(logits)
	if err != nil || s.Temperature == 0 {
		return best, err
	}
	if s.random == nil {
		const stream = 0x9E3779B97F4A7C15
		s.random = rand.NewPCG(s.Seed, stream)
	}
	// One number per token, however many candidates there are: options don't
	// shift the stream.
	u := float64(s.random.Uint64()>>11) / (1 << 53)
	s.candidates(logits, float64(logits[best]))
	var sum float64
	for _, w := range s.weight {
		sum += w
	}
	// A candidate without weight never makes the running sum pass the threshold.
	// u is below 1, and so is its product with the sum below the sum, rounded too.
	threshold, at, running := u*sum, 0, s.weight[0]
	for running <= threshold {
		at++
		running += s.weight[at]
	}
	return s.ids[at], nil
}

// likeliest returns the lowest id of the largest logit.
func likeliest(logits []float32) (int32, error) {
	if len(logits) == 0 || len(logits) > math.MaxInt32 {
		return 0, fmt.Errorf("nn: sampler: %d logits", len(logits))
	}
	best := 0
	for i, l := range logits {
		if l != l || l > math.MaxFloat32 {
			return 0, fmt.Errorf("nn: sampler: the logit of token %d is %v", i, l)
		}
		if l > logits[best] {
			best = i
		}
	}
	if logits[best] < -math.MaxFloat32 {
		return 0, errors.New("nn: sampler: every logit is -Inf")
	}
	return int32(best), nil
}

// candidates fills ids and weight with the tokens to choose from.
func (s *Sampler) candidates(logits []float32, largest float64) {
	weigh := func(id int32) float64 { return math.Exp((float64(logits[id]) - largest) / s.Temperature) }
	s.ids, s.weight = s.ids[:0], s.weight[:0]
	for i := range logits {
		s.ids = append(s.ids, int32(i))
	}
	if s.TopK > 0 && s.TopK < len(s.ids) {
		left := s.TopK
		s.ids = keepLikeliest(s.ids, logits, func(int32) bool { left--; return left == 0 })
	}
	if s.TopP > 0 && s.TopP < 1 {
		var sum, kept float64
		for _, id := range s.ids {
			sum += weigh(id)
		}
		s.ids = keepLikeliest(s.ids, logits, func(id int32) bool { kept += weigh(id); return kept >= s.TopP*sum })
	}
	for _, id := range s.ids {
		s.weight = append(s.weight, weigh(id))
	}
}

// keepLikeliest leaves the likeliest ids, of which enough is told one after the
// other until it says so. A heap gives them in order: of 50,257 ids few are
// kept, and sorting all would cost more than the rest of the choice.
func keepLikeliest(ids []int32, logits []float32, enough func(id int32) bool) []int32 {
	for i := len(ids)/2 - 1; i >= 0; i-- {
		sink(ids, logits, i)
	}
	n := len(ids)
	for n > 0 {
		n--
		ids[0], ids[n] = ids[n], ids[0]
		sink(ids[:n], logits, 0)
		if enough(ids[n]) {
			break
		}
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
