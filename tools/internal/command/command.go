// Package command is what the tools have in common: how they end, how they read
// flags, and how they name each other.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// The statuses that a tool exits with, beside 0.
const (
	Failed      = 1
	Usage       = 2
	Interrupted = 130 // by a signal, whichever
)

// Main runs a tool with the arguments of the process, and exits. The first SIGINT,
// SIGTERM or SIGHUP ends the context of run, which cleans up and returns an error; a
// second one ends the process at once.
func Main(name string, run func(ctx context.Context, args []string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), Signals()...)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:])
	if err != nil && ctx.Err() != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: interrupted\n", name)
		os.Exit(Interrupted)
	}
	os.Exit(Status(err, os.Stderr))
}

// Signals lists those that ask a process to end, without the ones that are ignored,
// as nohup does: they stay so.
func Signals() []os.Signal {
	var all []os.Signal
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			all = append(all, s)
		}
	}
	return all
}

// Status writes an error of a tool, and returns the status to exit with.
func Status(err error, log io.Writer) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(log, err)
	if bad := (*usageError)(nil); errors.As(err, &bad) {
		return Usage
	}
	return Failed
}

// AtOnce makes a tool of one that has nothing to clean up: an interrupt ends it
// wherever it is.
func AtOnce(run func(args []string) error) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		ended := make(chan error, 1)
		go func() { ended <- run(args) }()
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
