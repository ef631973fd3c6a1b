package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lemnos-ml/lemnos/vk"
)

var background = context.Background()

// ring is how many runs of a step may be in flight: while one runs, the host
// prepares the next.
const ring = 2

// outRing is how many results of runs are held: of those in flight, and of the
// one before them, which has finished.
const outRing = ring + 1

// Step is a compiled graph. Run replays it.
type Step struct {
	graph   *Graph
	dev     *vk.Device
	arena   []*vk.Buffer          // intermediates
	inputs  []*vk.Buffer          // the blocks of inputs on the device
	inHost  [ring][]*vk.Buffer    // run r uploads these blocks from the host's inHost[r % ring]
	outHost [outRing][]*vk.Buffer // and downloads its outputs to outHost[r % outRing]
	shadow  [][]byte              // what Upload has staged: the next Run copies it to inHost
	last    [outRing][][]byte     // outHost's bytes as Close found them
	layout  *layout
	main    *vk.Program
	batches [ring * outRing][]*vk.Program // upload, main, download: run r submits batches[r % (ring * outRing)]
	tickets [ring]vk.Ticket
	runs    int64
	since   int64 // how often the status had been cleared at the last of them
	closed  bool
}

// Run submits the step once, with the inputs staged by [Upload] before it, and
// returns without waiting for the result. When the run before the previous one
// has not finished it waits for that one first.
func (s *Step) Run() error {
	if s.closed {
		return errors.New("ops: run: the step is closed")
	}
	if err := s.missing(); err != nil {
		return fmt.Errorf("ops: run: %w", err)
	}
	slot := s.runs % ring
	if err := s.dev.WaitTicket(background, s.tickets[slot]); err != nil {
		return fmt.Errorf("ops: run: %w", err)
	}
	for i, b := range s.inHost[slot] {
		copy(b.Bytes(), s.shadow[i])
	}
	t, err := s.dev.Submit(s.batches[s.runs%int64(len(s.batches))]...)
	if err != nil {
		return fmt.Errorf("ops: run: %w", err)
	}
	s.tickets[slot] = t
	s.runs, s.since = s.runs+1, s.graph.cleared
	for _, t := range s.layout.writes {
		t.wrote()
	}
	for _, m := range s.layout.gradients {
		m.compute()
	}
	for _, t := range s.layout.updated {
		t.param.used = writes.Load()
	}
	s.graph.submitted()
	for _, in := range s.graph.inputs {
		in.staged = in.staged && in.call == ""
	}
	return nil
}

// missing reports what the caller has yet to do before the next run.
func (s *Step) missing() error {
	if s.graph.err != nil { // of an operation that came after Compile
		return s.graph.err
	}
	if err := errors.Join(s.graph.idle(), s.layout.used()); err != nil {
		return err
	}
	for _, t := range s.layout.reads {
		if t.Written() == 0 {
			return fmt.Errorf("%v has no values yet: Upload them before the first Run", t)
		}
	}
	for _, in := range s.graph.inputs {
		switch {
		case in.staged || !in.read:
		case in.call != "":
			return fmt.Errorf("%v is not staged for run %d: call %s before each Run", in.tensor, s.runs+1, in.call)
		default:
			return fmt.Errorf("%v has no values yet: Upload them before the first Run", in.tensor)
		}
	}
	return nil
}

// Ready waits until the next Run would not have to wait: until at most one run
// is unfinished, and none of the first few, which are measured.
func (s *Step) Ready(ctx context.Context) error {
	if s.closed {
		return errors.New("ops: ready: the step is closed")
	}
	if err := s.dev.WaitTicket(ctx, s.tickets[s.runs%ring]); err != nil {
		return fmt.Errorf("ops: ready: %w", err)
	}
	if err := s.main.Settle(ctx); err != nil {
		return fmt.Errorf("ops: ready: %w", err)
	}
	return nil
}

// Wait blocks until the last Run has finished. It returns a [*BadIndexError] when that
// run was refused, because an operation met an index outside its range, in it or in one
// before it: such a run and those behind it update nothing, and their outputs are
// void. Wait, and [Download] and [Item] of an output, return the error of the last run
// as often as they are asked; the first of them lets the next Run start afresh.
func (s *Step) Wait(ctx context.Context) error {
	if s.runs == 0 {
		return nil
	}
	if !s.closed {
		if err := s.dev.WaitTicket(ctx, s.tickets[(s.runs-1)%ring]); err != nil {
			return fmt.Errorf("ops: wait: %w", err)
		}
	}
	return s.report(ctx)
}

// Runs returns how many times Run was called.
func (s *Step) Runs() int64 { return s.runs }

// Completed copies output t, as the newest finished run left it, to dst and
// returns the number of that run, counted from 1; 0 when none has finished yet.
// It never waits. Of a run that was refused it returns the [*BadIndexError] with the
// number, and dst has what that left: the state of tensors that outlive the step, and
// nothing of use of others. It is no report as [Step.Wait] makes one.
func Completed[T Number](s *Step, t *Tensor, dst []T) (run int64, err error) {
	if s == nil || s.graph == nil {
		return 0, errors.New("ops: completed: no step: the graph was not compiled")
	}
	if err := fits[T](t, len(dst)); err != nil {
		return 0, fmt.Errorf("ops: completed: %w", err)
	}
	o := s.graph.output(t)
	if o == nil {
		return 0, fmt.Errorf("ops: completed: %v is not an output of this step", t)
	}
	for run := s.runs; run > 0; run-- {
		// Run s.runs-ring has finished: the last Run waited for it, whose ticket it took.
		if run == s.runs-ring || s.dev.Done(s.tickets[(run-1)%ring]) {
			raw := o.slot(run - 1)
			if raw == nil {
				return 0, fmt.Errorf("ops: completed: %v: %w", t, errGone)
			}
			decode(dst, t, raw[t.offset:])
			return run, s.refused(run - 1)
		}
	}
	return 0, nil
}

// StepStats counts what one run does, and the memory that the step holds.
type StepStats struct {
	Submissions int   // queue submissions per run; the first runs of a long step are cut finely, and measured
	Dispatches  int   // kernels per run
	Barriers    int   // memory barriers between them
	ArenaBytes  int64 // intermediates, overlaid
	TotalBytes  int64 // intermediates as they would be without reuse
	IOBytes     int64 // input block, and the host rings of inputs and outputs
}

// Stats returns the counts of the recorded step.
func (s *Step) Stats() StepStats {
	main := s.main.Stats()
	st := StepStats{Submissions: main.Submissions, Dispatches: main.Dispatches, Barriers: main.Barriers}
	for _, m := range transients(s.layout.calls) {
		st.TotalBytes += m.size
	}
	for _, b := range s.io() {
		st.IOBytes += b.Size()
	}
	for _, b := range s.arena {
		st.ArenaBytes += b.Size()
	}
	return st
}

// KernelTime is one dispatch of a timed run.
type KernelTime struct {
	Op, Kernel string
	Nanos      float64 // GPU time
}

// Profile runs the step once more with a time stamp around each dispatch and
// returns the GPU times in order. It changes parameters as any run does.
func (s *Step) Profile(ctx context.Context) ([]KernelTime, error) {
	if err := s.Ready(ctx); err != nil {
		return nil, err
	}
	p := s.dev.NewProgram()
	defer p.Release()
	p.Timestamp()
	for _, c := range s.layout.calls {
		if err := s.graph.dispatch(p, c); err != nil {
			return nil, err
		}
		p.Timestamp()
	}
	if err := p.End(); err != nil {
		return nil, fmt.Errorf("ops: profile: %w", err)
	}
	slot := s.runs % int64(len(s.batches))
	batch := append([]*vk.Program(nil), s.batches[slot]...)
	for i := range batch {
		if batch[i] == s.main {
			batch[i] = p
		}
	}
	saved := s.batches[slot]
	s.batches[slot] = batch
	err := s.Run()
	s.batches[slot] = saved
	if err == nil {
		err = s.Wait(ctx)
	}
	if err != nil {
		return nil, err
	}
	at, err := p.Times(ctx)
	if err != nil {
		return nil, fmt.Errorf("ops: profile: %w", err)
	}
	times := make([]KernelTime, len(s.layout.calls))
	for i, c := range s.layout.calls {
		times[i] = KernelTime{c.node.op, c.Kernel, at[i+1] - at[i]}
	}
	return times, nil
}

var errGone = errors.New("the device was closed before the step, and took the outputs with it")

// results is a block of outputs as a run left it; nil when the device was closed
// before the step.
func (s *Step) results(run int64, block int) []byte {
	slot := run % outRing
	if s.closed {
		return s.last[slot][block]
	}
	return s.outHost[slot][block].Bytes()
}

// Close waits for the step and frees its memory, and the graph's. The last
// values of outputs stay readable, unless the device was closed before.
func (s *Step) Close() error {
	if s.closed || s.graph == nil {
		return nil
	}
	err := s.dev.Wait(background)
	s.closed = true
	for slot, blocks := range s.outHost {
		for _, b := range blocks {
			s.last[slot] = append(s.last[slot], slices.Clone(b.Bytes()))
		}
	}
	for slot := range s.batches {
		for _, p := range s.batches[slot] {
			if p != s.main {
				p.Release()
			}
		}
		s.batches[slot] = nil
	}
	if s.main != nil {
		s.main.Release()
	}
	for _, b := range slices.Concat(s.arena, s.io()) {
		b.Release()
	}
	s.arena, s.inputs, s.inHost, s.outHost = nil, nil, [ring][]*vk.Buffer{}, [outRing][]*vk.Buffer{}
	s.graph.Release()
	return err
}

// io lists the buffers of inputs and outputs.
func (s *Step) io() []*vk.Buffer {
	return slices.Concat(s.inputs, slices.Concat(s.inHost[:]...), slices.Concat(s.outHost[:]...))
}
