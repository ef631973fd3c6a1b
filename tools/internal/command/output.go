package command

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// Watched runs a program, with one way for all that it writes to the standard output: where that fails, so does the
// program, at its end, whoever looked at the error. A reader that has gone, as head does, has seen what it wanted and is no
// failure; most systems end the program with it.
func Watched(run func(*Process) int, p *Process) (status int) {
	out := &output{Writer: p.Stdout, program: filepath.Base(p.Called)}
	q := *p
	q.Stdout = out
	status = run(&q)
	if err := out.failed.Load(); status == 0 && err != nil {
		fmt.Fprintln(p.Stderr, *err)
		return Failed
	}
	return status
}

// output keeps the first error of a writer.
type output struct {
	io.Writer
	program string
	failed  atomic.Pointer[error]
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if err == nil {
		return n, nil
	}
	err = fmt.Errorf("%s: the output is not whole: %w", o.program, err)
	if !errors.Is(err, syscall.EPIPE) {
		o.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// Unwrap returns what is written to, for who asks whether that is a terminal.
func (o *output) Unwrap() io.Writer { return o.Writer }
