package nn

import (
	"context"
	"errors"
	"fmt"
)

// Generate continues prompt by n tokens, each chosen by s from the logits of d,
// which [NewSequence] makes, and passes them to emit as they come. A [Decoder] has the
// device choose them, where that is no slower: the same tokens. It ends early when
// ctx does, with the context's error, and when emit returns an error, with that.
//
// When the sequence is full, it goes on from its newer half: what was said before
// that is forgotten. Of a prompt longer than Cap the last Cap tokens count.
func Generate(ctx context.Context, d Sequence, s *Sampler, prompt []int32, n int, emit func(id int32) error) error {
	switch {
	case d == nil || s == nil || emit == nil:
		return errors.New("nn: generate: the sequence, the sampler or emit is nil")
	case n < 0:
		return fmt.Errorf("nn: generate: %d tokens, want at least 0", n)
	case len(prompt) == 0:
		return errors.New("nn: generate: the prompt has no token")
	}
	known := make([]int32, 0, d.Cap()+1) // what d holds, and then what it does not yet
	known = append(known, prompt[max(0, len(prompt)-d.Cap()):]...)
	if d, ok := d.(*Decoder); ok && d.chooses(s) {
		return d.generate(ctx, s, known, n, emit)
	}
	d.Reset()
	fresh := known
	for range n {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if len(known) > d.Cap() {
			d.Reset()
			known = newer(known, d.Cap())
			fresh = known
		}
		logits, err := d.Next(ctx, fresh)
		if err != nil {
			return err
		}
		id, err := s.Next(logits)
		if err != nil {
			return err
		}
		if err := emit(id); err != nil {
			return err
		}
		known = append(known, id)
		fresh = known[len(known)-1:]
	}
	return nil
}

// newer returns, in the same memory, what a full sequence of so many tokens goes on from.
func newer(known []int32, length int) []int32 {
	return append(known[:0], known[len(known)-max(1, length/2):]...)
}
