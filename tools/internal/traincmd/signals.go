package traincmd

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train"
)

// interrupts ends a run when the process is asked to end.
type interrupts struct {
	// begun is set when there is something to save: until then the process ends at
	// once, wherever it is. It is the file of the configuration that the run's folder
	// keeps, "" for none.
	begun atomic.Pointer[string]
	// exit ends the process for the reason that it is given.
	exit func(error)
	// notice says what a signal that does not end it at once leads to.
	notice func(string)
}

// together is how close signals are that mean one thing: a terminal that is
// closed, or timeout(1), sends more than one.
const together = 300 * time.Millisecond

// watch returns a context that the first SIGINT, SIGTERM or SIGHUP ends. A later
// one ends the process. A signal that is ignored, as nohup does, stays so.
func (in *interrupts) watch() context.Context {
	// With nobody left to read the output, writing fails and training goes on.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 8)
	for _, s := range command.Signals() {
		signal.Notify(signals, s)
	}
	go func() {
		s := <-signals
		at := time.Now()
		err := fmt.Errorf("signal: %v", s)
		if in.begun.Load() == nil {
			in.exit(fmt.Errorf("%w before a step was done: %w", train.ErrInterrupted, err))
		}
		in.notice("stopping: the state is being saved; a second signal stops at once")
		cancel(err)
		for s := range signals {
			if time.Since(at) > together && s != syscall.SIGHUP {
				in.exit(fmt.Errorf("%w by a second signal before the state was saved: %v", train.ErrInterrupted, s))
			}
		}
	}()
	return ctx
}
