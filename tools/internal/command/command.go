// Package command is what the tools have in common: what a tool is, how it reads
// flags, how it ends, and how it names others.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Command is a tool: a command of the program lemnos, and a program of its own.
type Command struct {
	Name string
	// Usage is what follows the name: "[flags] text...".
	Usage string
	// Short says in a few words what it does, Long tells more, in lines.
	Short, Long string
	// Examples are lines that begin with "lemnos", with a comment each.
	Examples []string
	// Flags returns the flags with their defaults, for completion; [Process.Parse] gets the same.
	Flags func() *flag.FlagSet
	// Values completes the values of flags, by name. Those that are missing are not completed.
	Values map[string]Values
	// Operands completes what follows the flags.
	Operands Values
	// Run does what the arguments say and returns the status to exit with.
	Run func(p *Process) (status int)
}

// The statuses that a tool exits with, beside 0.
const (
	Failed      = 1
	Usage       = 2
	Interrupted = 130 // by a signal, whichever
)

// Statuses tells them in a help.
const Statuses = "exit status: 0 done, 1 failed, 2 wrong arguments, 130 interrupted"

// Process is how a command was started, and where it reads and writes.
type Process struct {
	*Command
	// Called is the program, as os.Args[0] names it.
	Called string
	// Whole tells that the program is lemnos, in which the command's name follows.
	Whole          bool
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Main runs a command as a program of its own, and exits.
func Main(c *Command) {
	os.Exit(Watched(c.Run, &Process{c, os.Args[0], false, os.Args[1:], os.Stdin, os.Stdout, os.Stderr}))
}

// Interruptible makes a command's Run of a function. The first SIGINT, SIGTERM or SIGHUP
// ends its context: it cleans up and returns an error; a second one ends the process at once.
func Interruptible(run func(ctx context.Context, p *Process) error) func(*Process) int {
	return func(p *Process) int {
		ctx, stop := signal.NotifyContext(context.Background(), Signals()...)
		defer stop()
		context.AfterFunc(ctx, stop)
		err := run(ctx, p)
		if err != nil && ctx.Err() != nil && !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(p.Stderr, "%s: interrupted\n", p.Name)
			return Interrupted
		}
		return Status(err, p.Stderr)
	}
}

// AtOnce is [Interruptible] for what has nothing to clean up: an interrupt ends it
// wherever it is.
func AtOnce(run func(p *Process) error) func(*Process) int {
	return Interruptible(func(ctx context.Context, p *Process) error {
		ended := make(chan error, 1)
		go func() { ended <- run(p) }()
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
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

// Status writes an error of a tool, and returns the status to exit with. That nobody reads the output any more is none.
func Status(err error, log io.Writer) int {
	if err == nil || errors.Is(err, flag.ErrHelp) || errors.Is(err, syscall.EPIPE) {
		return 0
	}
	fmt.Fprintln(log, Printable(err.Error()))
	if bad := (*usageError)(nil); errors.As(err, &bad) {
		return Usage
	}
	return Failed
}

// Help writes what -help does: the command, its flags with their defaults, and examples.
func (p *Process) Help(w io.Writer, fs *flag.FlagSet) {
	called := p.Call(p.Name)
	fmt.Fprintf(w, "usage: %s %s\n\n%s.\n%s\nflags:\n", called, p.Usage, p.Short, p.Long)
	fs.SetOutput(w)
	fs.PrintDefaults()
	fmt.Fprint(w, "  -help\n    \ttell about the command\n\nexamples:\n")
	for _, e := range p.Examples {
		fmt.Fprintf(w, "  %s\n", strings.Replace(e, "lemnos "+p.Name, called, 1))
	}
	fmt.Fprintf(w, "\n%s\n", Statuses)
}
