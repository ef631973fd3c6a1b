//go:build unix

package main

import (
	"bytes"
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
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"train -data " + pipe + " -ckpt_dir " + dir,
		"sample -tokenizer bytes -n 1000000000 -prompt 1 ../../train/hf/testdata/llama",
		"tokenize -tokenizer bytes -o " + dir + "/input -",
		"tokenize -tokenizer bytes -o " + dir + "/pipe " + pipe,
		"bench -run matmul",
		"doctor -dir " + dir,
	} {
		t.Run(strings.Fields(args)[0], func(t *testing.T) {
			t.Parallel()
			in, never, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			defer never.Close()
			var out, log bytes.Buffer
			p := exec.Command(os.Args[0], strings.Fields(args)...)
			p.Env = append(os.Environ(), asTool+"=1", "LEMNOS_VALIDATE=0")
			p.Stdin, p.Stdout, p.Stderr, p.WaitDelay = in, &out, &log, time.Second
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			if err := p.Process.Signal(os.Interrupt); err != nil {
				t.Fatalf("it has ended before: %v: %s%s", err, &out, &log)
			}
			late := time.AfterFunc(time.Minute, func() { p.Process.Kill() })
			defer late.Stop()
			p.Wait()
			if got := p.ProcessState.ExitCode(); got != command.Interrupted || !strings.Contains(log.String(), "interrupted") {
				t.Errorf("status %d, want %d; it says %q and %q", got, command.Interrupted, out.String(), log.String())
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
