//go:build unix

package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/vk"
)

// Commands that take long end with the same status when they are interrupted, wherever
// they are: here most wait for what never comes.
func TestInterrupted(t *testing.T) {
	if devices, err := vk.Devices(); len(devices) == 0 {
		t.Skip(err)
	}
	for _, args := range []string{
		"train -data DIR/pipe -ckpt_dir DIR",
		"sample -tokenizer bytes -n 1000000000 -prompt 1 ../../train/hf/testdata/llama",
		"tokenize -tokenizer bytes -o DIR/text -",
		"tokenize -tokenizer bytes -o DIR/text DIR/pipe",
		"bench -run matmul",
		"doctor -dir DIR",
	} {
		t.Run(strings.Fields(args)[0], func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666); err != nil {
				t.Fatal(err)
			}
			in, never, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			defer never.Close()
			p := exec.Command(os.Args[0], strings.Fields(strings.ReplaceAll(args, "DIR", dir))...)
			p.Env = append(os.Environ(), asTool+"=1", "LEMNOS_VALIDATE=0")
			p.Stdin = in
			out, err := p.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			p.Stderr = p.Stdout
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			late := time.AfterFunc(5*time.Minute, func() { p.Process.Kill() })
			defer late.Stop()
			said := bufio.NewReader(out)
			said.Peek(1) // it is at work when it says something
			p.Process.Signal(os.Interrupt)
			text, err := io.ReadAll(said)
			p.Wait()
			if got := p.ProcessState.ExitCode(); got != command.Interrupted || !strings.Contains(string(text), "interrupted") {
				t.Errorf("status %d, want %d; it says %q, %v", got, command.Interrupted, text, err)
			}
		})
	}
}

// A reader that has gone, as head does, ends the program without a word, as the system has it; a full disk is told of.
func TestRealOutputs(t *testing.T) {
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from.Close()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		out    *os.File
		status int
		log    string
	}{{to, -1, ""}, {full, command.Failed, ": the output is not whole: write /dev/stdout: no space left on device\n"}} {
		defer c.out.Close()
		var log strings.Builder
		p := exec.Command(os.Args[0], "help")
		p.Env, p.Stdout, p.Stderr = append(os.Environ(), asTool+"=1"), c.out, &log
		p.Run()
		if got := p.ProcessState.ExitCode(); got != c.status || !strings.HasSuffix(log.String(), c.log) || c.log == "" && log.Len() > 0 { // -1: by a signal
			t.Errorf("%s: %v, want status %d; it says %q", c.out.Name(), p.ProcessState, c.status, log.String())
		}
	}
}
