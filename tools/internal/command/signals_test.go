//go:build unix

package command

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
)

// asTool makes the test binary a tool that waits to be ended.
const asTool = "LEMNOS_TEST_AS_TOOL"

func TestMain(m *testing.M) {
	if os.Getenv(asTool) == "" {
		// What ignores a signal passes that on: a shell's job in the background.
		for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			signal.Notify(make(chan os.Signal, 1), s)
		}
		os.Exit(m.Run())
	}
	Main(&Command{Name: "tool", Run: Interruptible(func(ctx context.Context, p *Process) error {
		fmt.Fprintln(p.Stdout, "started")
		<-ctx.Done()
		return context.Cause(ctx)
	})})
}

func TestSignalsEndATool(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		p := exec.Command(os.Args[0])
		p.Env = append(os.Environ(), asTool+"=1")
		out, err := p.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		log, err := p.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatalf("it says %q, %v", line, err)
		}
		p.Process.Signal(s)
		text, _ := io.ReadAll(log)
		p.Wait()
		if status := p.ProcessState.ExitCode(); status != Interrupted || string(text) != "tool: interrupted\n" {
			t.Errorf("%v: status %d, want %d; it says %q", s, status, Interrupted, text)
		}
	}
}
