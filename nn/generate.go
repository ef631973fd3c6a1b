package nn

import (
	"context"
	"errors"
	"fmt"
)

// Generate continues prompt by n tokens, each chosen by s from the logits of d,
// which [NewSequence] makes, and passes them to emit as they come. It ends early when
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
	d.Reset()
	known := append([]int32(nil), prompt[max(0, len(prompt)-d.Cap()):]...) // what d holds, and then what it does not yet
	fresh := known
	for range n {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if len(known) > d.Cap() {
			d.Reset()
			known = append([]int32(nil), known[len(known)-max(1, d.Cap()/2):]...)
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
