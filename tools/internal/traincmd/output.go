package traincmd

import (
	"io"
	"time"
)

// output passes what is written to it on from a goroutine, so that a reader who
// is slow, stopped or gone never holds training up: what does not fit in the
// queue, or can't be written, is dropped.
type output struct{ queue chan item }

// item is a write, or the end of a flush.
type item struct {
	text    []byte
	flushed chan struct{}
}

// outputQueue is how many writes wait at most, flushTime for how long a flush does.
const (
	outputQueue = 1024
	flushTime   = 500 * time.Millisecond
)

func newOutput(w io.Writer) *output {
	o := &output{make(chan item, outputQueue)}
	go func() {
		for i := range o.queue {
			if i.flushed != nil {
				close(i.flushed)
				continue
			}
			w.Write(i.text) // if it fails there is nobody to tell
		}
	}()
	return o
}

// Write implements io.Writer; it never fails and never waits.
func (o *output) Write(p []byte) (int, error) {
	select {
	case o.queue <- item{text: append([]byte(nil), p...)}:
	default:
	}
	return len(p), nil
}

// flush waits until what was written has gone on, but not long.
func (o *output) flush() {
	late := time.After(flushTime)
	end := item{flushed: make(chan struct{})}
	select {
	case o.queue <- end:
	case <-late:
		return
	}
	select {
	case <-end.flushed:
	case <-late:
	}
}
