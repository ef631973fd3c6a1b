//go:build unix

package traincmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// asTool makes the test binary the tool, so that tests can start it as a process.
const asTool = "LEMNOS_TEST_AS_TRAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asTool) != "" {
		command.Main(Command)
	}
	// What ignores a signal passes that on to the processes it starts: nohup, a shell's job in the background.
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	vktest.Main(m)
}

// patience is far more than any start and save of these runs takes.
const patience = 2 * time.Minute

// toolRun is a run with a folder of its own.
type toolRun struct {
	*testing.T
	dir  string // of the data, and of the folder that has the run's
	args []string
}

// newToolRun has arguments for a run that takes a second; a later one overrides.
func newToolRun(t *testing.T, more string) *toolRun {
	t.Helper()
	vktest.Open(t) // skips where there is no device
	r := &toolRun{T: t, dir: t.TempDir()}
	text := filepath.Join(r.dir, "text.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("of the and to in that is was ", 200)), 0o666); err != nil {
		t.Fatal(err)
	}
	r.args = append(strings.Fields("-model bigram -batch_size 2 -context_len 16 -warmup_iters 1 -cosine_iters 6 -eval_windows 4 -sample 0 -run_name p "+more),
		"-data", text, "-ckpt_dir", filepath.Join(r.dir, "it's here"))
	return r
}

// endless are the arguments of a run that saves only when it is told to end.
const endless = "-total_steps 1000000000 -ckpt_every 1000000000 -eval_every 1000000000 -log_every 1 "

func (r *toolRun) folder() string { return filepath.Join(r.dir, "it's here", "p") }

// saved returns the step of the newest checkpoint, which must be whole; 0 for none.
func (r *toolRun) saved() int64 {
	r.Helper()
	path, step, err := train.Latest(r.folder())
	if err == nil && path != "" {
		var f *safetensors.File
		if f, err = safetensors.OpenVerified(path); err == nil {
			f.Close()
		}
	}
	if err != nil {
		r.Fatal(err)
	}
	return step
}

// process is the tool at work.
type process struct {
	*exec.Cmd
	r      *toolRun
	out    log
	errors log
	exited chan error
}

// log is an output that can be looked at while it grows.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// process prepares the tool with the run's arguments and more.
func (r *toolRun) process(more ...string) *process {
	p := &process{Cmd: exec.Command(os.Args[0], append(r.args, more...)...), r: r, exited: make(chan error, 1)}
	p.Env = append(os.Environ(), asTool+"=1", "LEMNOS_VALIDATE=0")
	p.Stdout, p.Stderr = &p.out, &p.errors
	return p
}

func (p *process) start() *process {
	p.r.Helper()
	if err := p.Start(); err != nil {
		p.r.Fatal(err)
	}
	go func() { p.exited <- p.Wait(); close(p.exited) }()
	p.r.Cleanup(func() { // before its folder is removed
		p.Process.Kill()
		for range p.exited {
		}
	})
	return p
}

// until waits for what the run does sooner or later.
func (r *toolRun) until(it string, does func() bool) {
	r.Helper()
	for end := time.Now().Add(patience); !does(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("after %v it does not %s", patience, it)
		}
	}
}

// trains waits until the run has logged a few steps.
func (p *process) trains() *process {
	p.r.Helper()
	p.r.until("train", func() bool {
		records, err := train.ReadMetrics(filepath.Join(p.r.folder(), "metrics.jsonl"))
		return err == nil && len(records) > 3
	})
	return p
}

// ends waits for the end of the process, which must have the status.
func (p *process) ends(status int, within time.Duration) {
	p.r.Helper()
	select {
	case err := <-p.exited:
		var failed *exec.ExitError
		if err != nil && !errors.As(err, &failed) {
			p.r.Fatal(err)
		}
	case <-time.After(within):
		p.Process.Kill()
		p.r.Fatalf("did not end within %v", within)
	}
	if got := p.ProcessState.ExitCode(); got != status { // -1: killed
		p.r.Fatalf("status %d, want %d\n%s%s", got, status, p.out.String(), p.errors.String())
	}
}

// Each way in which a shell, a terminal or a service manager ends a process
// saves the state, also with nobody to read the output; and the command that is
// printed goes on from there.
func TestSignalsSave(t *testing.T) {
	full := func(p *process) {
		f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			p.r.Skip(err)
		}
		p.r.Cleanup(func() { f.Close() })
		p.Stdout = f
	}
	// pipe gives the process a pipe as output, of which only the first bytes are read.
	pipe := func(p *process, read int64, closed bool) {
		from, to, err := os.Pipe()
		if err != nil {
			p.r.Fatal(err)
		}
		p.r.Cleanup(func() { from.Close(); to.Close() })
		p.Stdout = to
		go func() {
			io.CopyN(io.Discard, from, read)
			if closed {
				from.Close()
			}
		}()
	}
	for name, c := range map[string]struct {
		signal syscall.Signal
		output func(p *process)
	}{
		"SIGINT":                     {signal: syscall.SIGINT},
		"SIGTERM":                    {signal: syscall.SIGTERM},
		"SIGHUP":                     {signal: syscall.SIGHUP},
		"reader gone":                {syscall.SIGINT, func(p *process) { pipe(p, 100, true) }},
		"reader gone from both":      {syscall.SIGINT, func(p *process) { pipe(p, 100, true); p.Stderr = p.Stdout }},
		"reader stopped":             {syscall.SIGTERM, func(p *process) { pipe(p, 100, false); p.Stderr = p.Stdout }},
		"output to a full disk":      {syscall.SIGTERM, full},
		"all output to a full disk":  {syscall.SIGHUP, func(p *process) { full(p); p.Stderr = p.Stdout }},
		"SIGHUP, then another at it": {signal: syscall.SIGHUP},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newToolRun(t, endless)
			p := r.process("-fresh=true")
			if c.output != nil {
				c.output(p)
			}
			p.start().trains()
			if name == "reader stopped" {
				time.Sleep(time.Second) // to fill the pipe
			}
			p.Process.Signal(c.signal)
			if name == "SIGHUP, then another at it" {
				time.Sleep(time.Millisecond)
				p.Process.Signal(c.signal)
			}
			p.ends(command.Interrupted, patience)
			step := r.saved()
			if step < 3 {
				t.Fatalf("step %d is saved, want 3 or a later one", step)
			}
			if p.Stderr != &p.errors {
				return
			}
			_, line, _ := strings.Cut(p.errors.String(), "resume with:\n  ")
			again := exec.Command("sh", "-c", strings.TrimSpace(line)+fmt.Sprint(" -total_steps ", step+5))
			again.Env = p.Env
			out, err := again.CombinedOutput()
			if err != nil || !strings.Contains(string(out), fmt.Sprintf("training  from=%d ", step)) {
				t.Errorf("%q: %v\n%s\nwant a run that goes on from step %d", line, err, out, step)
			}
		})
	}
}

// nohup's way of having a signal ignored is respected.
func TestIgnoredSignalStaysIgnored(t *testing.T) {
	r := newToolRun(t, endless)
	p := r.process()
	p.Path, p.Args = "/bin/sh", append([]string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh"}, p.Args...)
	p.start().trains()
	p.Process.Signal(syscall.SIGHUP)
	select {
	case <-p.exited:
		t.Fatalf("SIGHUP ended it:\n%s", p.errors.String())
	case <-time.After(time.Second):
	}
	p.Process.Signal(syscall.SIGTERM)
	p.ends(command.Interrupted, patience)
}

// The second signal of a person who does not want to wait.
func TestSecondSignalLeavesACheckpointWhole(t *testing.T) {
	r := newToolRun(t, strings.Replace(endless, "-ckpt_every 1000000000", "-ckpt_every 1", 1))
	p := r.process().start().trains()
	before := r.saved()
	p.Process.Signal(syscall.SIGTERM)
	time.Sleep(together + 50*time.Millisecond)
	p.Process.Signal(syscall.SIGTERM) // often it has ended by now
	p.ends(command.Interrupted, patience)
	if after := r.saved(); after < before || after == 0 {
		t.Errorf("step %d is saved, after %d", after, before)
	}
}

// A signal is answered at once while there is nothing to save: here the data is
// a pipe that nobody writes to.
func TestSignalWhileLoading(t *testing.T) {
	r := newToolRun(t, endless)
	pipe := filepath.Join(r.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	p := r.process("-data", pipe).start()
	r.until("say that it reads", func() bool { return strings.Contains(p.out.String(), "tokenizing") })
	p.Process.Signal(syscall.SIGTERM)
	p.ends(command.Interrupted, patience)
	if _, err := os.Stat(r.folder()); err == nil {
		t.Error("the folder was made before the data was open")
	}
}

func TestOneProcessPerRun(t *testing.T) {
	r := newToolRun(t, endless)
	first := r.process().start().trains()
	for _, more := range [][]string{nil, {"-fresh"}} {
		second := r.process(more...).start()
		second.ends(command.Failed, patience)
		if !strings.Contains(second.errors.String(), train.ErrRunning.Error()) || !strings.Contains(second.errors.String(), r.folder()) {
			t.Errorf("%q: the second process says %q", more, second.errors.String())
		}
	}
	first.Process.Kill()
	first.ends(-1, patience)
	r.process("-total_steps", "5").start().ends(0, patience) // the lock died with the first
	if r.saved() != 5 {
		t.Errorf("step %d is saved, want 5", r.saved())
	}
}

// A start that is refused removes nothing, whatever is wrong with it.
func TestFreshRemovesNothingBeforeAllIsChecked(t *testing.T) {
	r := newToolRun(t, "-total_steps 5")
	r.process().start().ends(0, patience)
	own := filepath.Join(r.folder(), "notes.txt")
	if err := os.WriteFile(own, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	before := contents(t, r.folder())
	for name, more := range map[string][]string{
		"data":                               {"-data", filepath.Join(r.dir, "txet.txt")},
		"short data":                         {"-context_len", "100000"},
		"source":                             {"-from", filepath.Join(r.dir, "none")},
		"device":                             {"-device", "no such device"},
		"value":                              {"-batch_size", "0"},
		"flag":                               {"-batch", "1"},
		"memory plan":                        {"-model", "transformer", "-layers", "1000", "-width", "65536", "-heads", "512", "-ffn", "65536"},
		"tokenizer":                          {"-tokenizer", filepath.Join(r.dir, "none.json")},
		"run_name":                           {"-run_name", "../p"},
		"data inside":                        {"-data", own},
		"its own source":                     {"-from", r.folder()},
		"its own file":                       {"-config", filepath.Join(r.folder(), "config.json")},
		"no such preset":                     {"-preset", "none"},
		"sample":                             {"-sample", "-1"},
		"source of a kind that does not fit": {"-from", filepath.Join(r.folder(), "checkpoint-00000005.safetensors")},
	} {
		p := r.process(append(more, "-fresh")...).start()
		select {
		case <-p.exited:
		case <-time.After(patience):
			t.Fatalf("%s: does not end", name)
		}
		if p.ProcessState.ExitCode() == 0 {
			t.Errorf("%s: was accepted", name)
		}
		if after := contents(t, r.folder()); after != before {
			t.Errorf("%s: the folder was changed from\n%s to\n%s", name, before, after)
		}
	}
	r.process("-total_steps", "3", "-fresh").start().ends(0, patience)
	if text, err := os.ReadFile(own); string(text) != "mine" || r.saved() != 3 {
		t.Errorf("afresh: step %d is saved, want 3; notes.txt is %q, %v", r.saved(), text, err)
	}
}

// contents lists the files of a folder with what is in them.
func contents(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s: %x\n", e.Name(), data)
	}
	return all.String()
}
