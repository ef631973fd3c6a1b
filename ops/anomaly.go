package ops

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/vk"
)

// AnomalyError is the first operation of a step whose result is not finite, see
// [Step.RunChecked].
type AnomalyError struct {
	Op     string  // such as "linear", or "linear backward"
	Kernel string  // that wrote the value
	Where  string  // file and line that called the operation, of its forward pass
	Result string  // what the kernel wrote, such as "f32[8 256]"
	At     []int   // position of the first such value
	Value  float32 // NaN or an infinity
	Input  string  // what the kernel read that was not finite before, such as a parameter; "" for nothing
}

// Error implements error.
func (e *AnomalyError) Error() string {
	cause := "what it reads is finite"
	if e.Input != "" {
		cause = "it reads " + e.Input + ", which is not finite"
	}
	return fmt.Sprintf("ops: %s (at %s): %s is %v at %v; %s (kernel %s)", e.Op, e.Where, e.Result, e.Value, e.At, cause, e.Kernel)
}

// RunChecked is Run one operation after the other, with a look at each result:
// much slower, the same bits. It waits for the step, runs all of it whatever it
// finds, and returns an [*AnomalyError] for the first result that is not finite.
func (s *Step) RunChecked(ctx context.Context) error {
	slot := s.runs % int64(len(s.batches))
	batch := s.batches[slot]
	main := slices.Index(batch, s.main)
	if s.closed || main < 0 {
		return s.Run() // which says why it can't
	}
	s.batches[slot] = batch[:main]
	err := s.Run() // sends the inputs
	s.batches[slot] = batch
	if err != nil {
		return err
	}
	var found error
	for at, c := range s.layout.calls {
		anomaly, err := s.runApart(ctx, at, c)
		if err != nil {
			return err
		}
		if found == nil && anomaly != nil {
			found = anomaly
		}
	}
	ticket, err := s.dev.Submit(batch[main+1:]...)
	if err != nil {
		return fmt.Errorf("ops: run: %w", err)
	}
	s.tickets[(s.runs-1)%ring] = ticket
	if err := s.Wait(ctx); err != nil {
		return err
	}
	return found
}

// runApart runs a call of the step, or the calls of the graph that it stands for, and returns the first
// anomaly. Memory that it is the first to write is cleared, so that what it leaves alone is finite.
func (s *Step) runApart(ctx context.Context, at int, c *scheduled) (found *AnomalyError, err error) {
	var clear []vk.Span
	for i, t := range c.Args {
		if m := t.mem; c.writes(i) && m.graph != nil && m.input == nil && m.taken == nil && m.first == at {
			clear = append(clear, m.buf.Span(m.base, m.size))
		}
	}
	for _, part := range c.parts() {
		for _, t := range part.Args {
			if m := t.mem; m.graph != nil && m.buf == nil { // c does without it
				if m.buf, err = s.dev.NewBuffer(m.size); err != nil {
					return nil, fmt.Errorf("ops: run: %s: %w", part.node.op, err)
				}
				defer func() { m.buf.Release(); m.buf = nil }()
			}
		}
		if err := s.runCall(ctx, part, clear); err != nil {
			return nil, err
		}
		clear = nil
		if found == nil {
			if found, err = s.anomaly(ctx, part); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// runCall clears memory, runs a call and waits for it.
func (s *Step) runCall(ctx context.Context, c *scheduled, clear []vk.Span) error {
	p := s.dev.NewProgram()
	defer p.Release()
	for _, span := range clear {
		p.Fill(span, 0)
	}
	if err := s.graph.dispatch(p, c); err != nil {
		return err
	}
	if err := p.End(); err != nil {
		return fmt.Errorf("ops: run: %s: %w", c.node.op, err)
	}
	ticket, err := s.dev.Submit(p)
	if err == nil {
		err = s.dev.WaitTicket(ctx, ticket)
	}
	if err != nil {
		return fmt.Errorf("ops: run: %s: %w", c.node.op, err)
	}
	return nil
}

// anomaly looks at what a call has written.
func (s *Step) anomaly(ctx context.Context, c *scheduled) (*AnomalyError, error) {
	var written []*memory
	for i, t := range c.Args {
		if c.writes(i) {
			written = append(written, t.mem.root())
		}
	}
	for i, t := range c.Args {
		if !c.writes(i) {
			continue
		}
		at, value, err := nonFinite(ctx, t)
		if err != nil {
			return nil, err
		}
		if at == nil {
			continue
		}
		e := &AnomalyError{Op: c.node.op, Kernel: c.Kernel, Where: c.node.where, Result: t.String(), At: at, Value: value}
		if c.node.backward && !strings.Contains(e.Op, "backward") {
			e.Op += " backward"
		}
		if c.node.inner != c.node.where {
			e.Where = c.node.inner + ", from " + c.node.where
		}
		for _, t := range c.Args {
			if slices.Contains(written, t.mem.root()) { // what was read there is gone
				continue
			}
			switch at, _, err := nonFinite(ctx, t); {
			case err != nil:
				return nil, err
			case at != nil:
				e.Input = t.String()
				return e, nil
			}
		}
		return e, nil
	}
	return nil, nil
}

// nonFinite returns the position of the first value of a float tensor that is
// not finite, or nil.
func nonFinite(ctx context.Context, t *Tensor) (at []int, value float32, err error) {
	if !t.dtype.Float() {
		return nil, 0, nil
	}
	raw, values := make([]byte, t.span().Size), make([]float32, t.Len())
	if err := t.mem.buf.Download(ctx, t.mem.base+t.offset, raw); err != nil {
		return nil, 0, fmt.Errorf("ops: look at %v: %w", t, err)
	}
	decode(values, t, raw)
	i := slices.IndexFunc(values, func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) })
	if i < 0 {
		return nil, 0, nil
	}
	value = values[i]
	at = make([]int, len(t.shape))
	for d := len(at) - 1; d >= 0; d-- {
		at[d], i = i%t.shape[d], i/t.shape[d]
	}
	return at, value, nil
}
