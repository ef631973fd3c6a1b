package nn

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// chosenRows is how many of the tokens chosen last the device keeps: the host may read
// one when the pass of the next has ended too.
const chosenRows = 4

// hostVocab is from how many logits on a processor that is the device takes longer
// to choose from them than the host's code: it goes through them several times.
const hostVocab = 4096

// chooses reports whether the device is the one to choose tokens.
func (d *Decoder) chooses(s *Sampler) bool {
	return d.layers != nil && (s.Temperature == 0 || d.Vocab() < hostVocab || d.m.params.Device().Info().Kind != vk.CPU)
}

// generate is [Generate] where the device chooses. A token goes from one pass to the
// next there, and the host learns of it while the next pass runs. Where emit ends the
// text that pass was for nothing, and is undone.
func (d *Decoder) generate(ctx context.Context, s *Sampler, known []int32, n int, emit func(id int32) error) error {
	var pass, ahead *decoderPass // that choose token i, and the one after it
	var before rand.PCG          // the state of s without the latter
	defer func() {
		if ahead != nil {
			s.random = before
			d.used = max(d.used-1, 0) // emit may have Reset it
		}
	}()
	d.Reset()
	for i := range n {
		var err error
		if pass == nil {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if len(known) > d.Cap() {
				d.Reset()
				known = newer(known, d.Cap())
			}
			if pass, err = d.choose(ctx, s, i, known); err != nil {
				return err
			}
		}
		if i+1 < n && d.used < d.length {
			before = s.random
			if ahead, err = d.choose(ctx, s, i+1, nil); err != nil {
				return err
			}
		}
		id, err := d.read(ctx, pass, i, pass == ahead)
		if err == nil {
			err = emit(id)
		}
		if err == nil && ahead != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		known = append(known, id)
		pass, ahead = ahead, nil
	}
	return nil
}

// choose appends tokens, or without them the one that the device chose last, and has
// the device choose token i, without waiting for it.
func (d *Decoder) choose(ctx context.Context, s *Sampler, i int, tokens []int32) (*decoderPass, error) {
	c, err := s.choice(d.Vocab())
	if err != nil {
		return nil, err
	}
	if c.rate != 0 {
		c.random = s.draw()
	}
	c.write(d.how, i%chosenRows)
	var p *decoderPass
	switch {
	case d.layers == nil:
		err = errClosed
	case tokens == nil:
		p = d.choices.one
		err = d.run(ctx, p, 1)
	default:
		if err = d.check(tokens); err == nil {
			p, err = d.feed(ctx, &d.choices, tokens)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("nn: decoder: %w", err)
	}
	return p, nil
}

// read waits for token i, which pass p chose, in its last run or, where that is the
// one ahead, in the run before it.
func (d *Decoder) read(ctx context.Context, p *decoderPass, i int, ahead bool) (int32, error) {
	wait := p.step.Wait
	if ahead {
		wait = p.step.Ready
	}
	err := wait(ctx)
	if err == nil {
		_, err = ops.Completed(p.step, d.chosen, d.result)
	}
	if err != nil {
		return 0, fmt.Errorf("nn: decoder: %w", err)
	}
	row := d.result[2*(i%chosenRows):]
	switch row[1] {
	case ops.SampledNaN:
		return 0, badLogit(int(row[0]), float32(math.NaN()))
	case ops.SampledInf:
		return 0, badLogit(int(row[0]), float32(math.Inf(1)))
	case ops.SampledNone:
		return 0, errNoLogit
	}
	return row[0], nil
}
