package data

import (
	"errors"
	"fmt"
)

// Sampler gathers random batches on the host: inputs (B, M) and targets (B, M), the inputs shifted by one token.
// Batch k is a pure function of the tokens and of (Seed, k, Rank). One goroutine at a time.
type Sampler struct {
	Tokens *Tokens
	Seed   uint64 // of the stream of batches
	Rank   uint32 // this process among those that train together
	B, M   int    // rows of a batch, and the context length

	starts []int64
	window []int32 // one row of inputs and the target after the last
}

// Gather fills x and y, each B*M ids in row-major order, with batch k. Only the first call allocates.
func (s *Sampler) Gather(k int64, x, y []int32) error {
	if s == nil {
		return errors.New("data: batch: the sampler is nil")
	}
	if err := checkBatch(x, y, s.B, s.M); err != nil {
		return err
	}
	if err := s.Tokens.Fits(s.M); err != nil {
		return err
	}
	if len(s.starts) != s.B || len(s.window) != s.M+1 {
		s.starts, s.window = make([]int64, s.B), make([]int32, s.M+1)
	}
	if err := drawStarts(s.starts, s.Seed, uint64(k), s.Rank, s.Tokens.Len(), s.M); err != nil {
		return err
	}
	for row, start := range s.starts {
		if err := gatherRow(s.Tokens, s.window, x, y, row, start); err != nil {
			return fmt.Errorf("data: batch %d, row %d: %w", k, row, err)
		}
	}
	return nil
}

// PadTarget is the target at positions that hold no token: the rows that fill up the last batch of Windows. It is the
// ignore index of PyTorch; the cross-entropy must be told to ignore it.
const PadTarget = -100

// Windows are the sequential windows of evaluation: window w has the inputs [w*M, w*M+M) and the targets one further,
// so every token but the first is predicted once, up to a rest shorter than M at the end. One goroutine at a time.
type Windows struct {
	Tokens *Tokens
	B, M   int   // rows of a batch, and the context length
	Limit  int64 // at most so many windows; 0 is no limit

	window []int32
}

// Count returns the number of windows, (n-1)/M or Limit; 0 without tokens.
func (w *Windows) Count() int64 {
	if w == nil || w.Tokens == nil || w.M < 1 {
		return 0
	}
	count := max(w.Tokens.Len()-1, 0) / int64(w.M)
	if w.Limit > 0 {
		count = min(count, w.Limit)
	}
	return count
}

// Gather fills x and y, each B*M ids, with the windows from the given one on, and returns how many there were: B, fewer
// in the last batch, 0 after it. The rows after those have the inputs 0 and the targets PadTarget. So one pass is
//
//	for first := int64(0); ; first += int64(rows) {
//		if rows, err = w.Gather(first, x, y); rows == 0 || err != nil {
//			break
//		}
//		…
//	}
func (w *Windows) Gather(first int64, x, y []int32) (rows int, err error) {
	if w == nil {
		return 0, errors.New("data: evaluation: the windows are nil")
	}
	if err := checkBatch(x, y, w.B, w.M); err != nil {
		return 0, err
	}
	if err := w.Tokens.Fits(w.M); err != nil {
		return 0, err
	}
	if first < 0 {
		return 0, fmt.Errorf("data: evaluation window %d is negative", first)
	}
	if len(w.window) != w.M+1 {
		w.window = make([]int32, w.M+1)
	}
	rows = int(max(0, min(int64(w.B), w.Count()-first)))
	for row := range rows {
		start := (first + int64(row)) * int64(w.M)
		if err := gatherRow(w.Tokens, w.window, x, y, row, start); err != nil {
			return 0, fmt.Errorf("data: evaluation window %d: %w", first+int64(row), err)
		}
	}
	for j := rows * w.M; j < len(x); j++ {
		x[j], y[j] = 0, PadTarget
	}
	return rows, nil
}

func checkBatch(x, y []int32, b, m int) error {
	if b < 1 || m < 1 {
		return fmt.Errorf("data: a batch of %d rows of context length %d: both must be positive", b, m)
	}
	if len(x)/m != b || len(x)%m != 0 || len(y) != len(x) {
		return fmt.Errorf("data: inputs of %d and targets of %d ids for a batch of %d rows of %d", len(x), len(y), b, m)
	}
	return nil
}

// gatherRow reads the window at start, len(window)-1 inputs and their targets, into a row of x and y.
func gatherRow(t *Tokens, window, x, y []int32, row int, start int64) error {
	if err := t.Read(window, start); err != nil {
		return err
	}
	m := len(window) - 1
	copy(x[row*m:(row+1)*m], window)
	copy(y[row*m:(row+1)*m], window[1:])
	return nil
}

// Prefetcher gathers batches ahead in a goroutine of its own: while the caller works on batch k, batch k+1 is being
// gathered, and no more. The goroutine ends at Close. One goroutine at a time may call the methods.
type Prefetcher struct {
	work   chan *hostBatch // to the goroutine; closed by Close
	done   chan *hostBatch // from it; closed when it has ended
	spare  *hostBatch      // not with the goroutine: what the last Batch returned
	ahead  int64           // the batch that is being gathered, -1 when none is
	closed bool
}

// hostBatch is a batch on its way between the two goroutines.
type hostBatch struct {
	k    int64
	x, y []int32
	err  error
}

// NewPrefetcher starts the goroutine. The sampler belongs to the Prefetcher until Close has returned; nothing is
// gathered before the first Batch.
func NewPrefetcher(s *Sampler) *Prefetcher {
	p := &Prefetcher{work: make(chan *hostBatch, 1), done: make(chan *hostBatch, 2), ahead: -1}
	size := 0
	if s != nil {
		size = max(s.B, 0) * max(s.M, 0)
	}
	newBatch := func() *hostBatch { return &hostBatch{x: make([]int32, size), y: make([]int32, size)} }
	p.spare = newBatch()
	p.done <- newBatch()
	go func() {
		defer close(p.done)
		for b := range p.work {
			b.err = s.Gather(b.k, b.x, b.y)
			p.done <- b
		}
	}()
	return p
}

// Batch returns the inputs and targets of batch k >= 0, B*M ids each, and starts on batch k+1. Batches asked for in
// order come without waiting for the files; any other order works too. The slices are the caller's until the next call.
// It allocates nothing.
func (p *Prefetcher) Batch(k int64) (x, y []int32, err error) {
	if p.closed {
		return nil, nil, errors.New("data: prefetcher is closed")
	}
	if k < 0 {
		return nil, nil, fmt.Errorf("data: batch number %d is negative", k)
	}
	b := <-p.done
	if p.ahead != k {
		b.k = k
		p.work <- b
		b = <-p.done
	}
	p.spare.k, p.ahead = k+1, k+1
	p.work <- p.spare
	p.spare = b
	return b.x, b.y, b.err
}

// Close ends the goroutine and waits for it. Closing twice does nothing.
func (p *Prefetcher) Close() {
	if p.closed || p.work == nil {
		return
	}
	p.closed = true
	close(p.work)
	for range p.done {
	}
}
