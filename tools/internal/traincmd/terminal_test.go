//go:build unix

package traincmd

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/creack/pty"
	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

// onTerminal gives the process a terminal of its own, and returns the other end.
func (p *process) onTerminal(columns uint16, environment ...string) *os.File {
	p.r.Helper()
	keyboard, tty, err := pty.Open()
	if err == nil {
		err = pty.Setsize(keyboard, &pty.Winsize{Rows: 30, Cols: columns})
	}
	if err != nil {
		p.r.Fatal(err)
	}
	p.r.Cleanup(func() { keyboard.Close() })
	p.Stdin, p.Stdout, p.Stderr = tty, tty, tty
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.Env = append(append(p.Env, "TERM=xterm", "NO_COLOR=", "CLICOLOR=", "LC_ALL=C.UTF-8"), environment...)
	p.start()
	tty.Close()
	return keyboard
}

// watch reads what a terminal shows until its process has ended: then all is there.
func watch(keyboard *os.File) (screen *log, all chan struct{}) {
	screen, all = new(log), make(chan struct{})
	go func() {
		io.Copy(screen, keyboard)
		close(all)
	}()
	return screen, all
}

var liveLine = regexp.MustCompile(`\d+/1000000000  0%  eta \d`)

// On a terminal there is a live line, in colours that NO_COLOR takes away. Ctrl-C saves,
// and leaves whole lines behind it.
func TestTerminal(t *testing.T) {
	for environment, want := range map[string]string{
		"NO_COLOR=":          "\x1b[2m",
		"NO_COLOR=1":         "\r\x1b[J",
		"CLICOLOR=0":         "\r\x1b[J",
		"LC_ALL=ja_JP.UTF-8": "--",
	} {
		t.Run(environment, func(t *testing.T) {
			t.Parallel()
			r := newToolRun(t, endless+"-sample 20")
			p := r.process()
			keyboard := p.onTerminal(100, environment)
			screen, all := watch(keyboard)
			p.trains()
			r.until("show a live line", func() bool { return liveLine.MatchString(screen.String()) })
			fmt.Fprint(keyboard, "\x03")
			p.ends(command.Interrupted, patience)
			<-all
			text := screen.String()
			if colours := strings.Contains(text, "\x1b[2m"); colours != (want == "\x1b[2m" || strings.HasPrefix(environment, "LC_ALL")) || !strings.Contains(text, want) {
				t.Errorf("colours %v, want %q in\n%q", colours, want, text)
			}
			// What is erased last leaves what scrolled: whole lines.
			after := text[strings.LastIndex(text, "\x1b[J")+len("\x1b[J"):]
			if !regexp.MustCompile(`(?s)^(stopping: .*\r\n)?train: interrupted after step \d+.*resume with:\r\n  .*\r\n$`).MatchString(after) {
				t.Errorf("after the live line there is\n%q", after)
			}
			if step := r.saved(); step < 3 {
				t.Errorf("step %d is saved", step)
			}
		})
	}
}

// Training does not wait for a terminal that is stopped, and ends when it is told to.
func TestStoppedTerminal(t *testing.T) {
	r := newToolRun(t, endless)
	p := r.process()
	keyboard := p.onTerminal(100)
	fmt.Fprint(keyboard, "\x13") // Ctrl-S
	p.trains()
	p.Process.Signal(syscall.SIGTERM)
	p.ends(command.Interrupted, patience)
	if step := r.saved(); step < 3 {
		t.Errorf("step %d is saved", step)
	}
}

// Without a terminal, and on one that can't do more, there are lines and no control characters.
func TestPlainOutput(t *testing.T) {
	const arguments = "-total_steps 20 -log_every 5 -eval_every 10 -ckpt_every 10 -sample 60 -model transformer -layers 1 -heads 2 -width 16 -ffn 16"
	for _, terminal := range []string{"", "TERM=dumb", "TERM="} {
		r := newToolRun(t, arguments)
		p := r.process()
		text := ""
		if terminal != "" {
			keyboard := p.onTerminal(40, terminal)
			screen, all := watch(keyboard)
			p.ends(0, patience)
			<-all
			text = strings.ReplaceAll(screen.String(), "\r\n", "\n")
		} else {
			p.start().ends(0, patience)
			text = p.out.String() + p.errors.String()
		}
		for _, c := range text {
			if unicode.IsControl(c) && c != '\n' && c != '\t' {
				t.Fatalf("character %q in\n%q", c, text)
			}
		}
		for _, line := range []string{`training  from=0 unigram_entropy=\d\.\d{4} kernels=\d+`, `step 0/20  val \d\.\d+`, `--- sample of step 10`,
			`step 15/20  loss \d\.\d{3}  lr \d\.\de-\d\d  grad [\d.e-]+  [\d.]+k? tok/s(  eta \d+m?\d*s)?`, `step 20/20  loss \d\.\d{3}  val \d\.\d{3}  lr .* tok/s`, `done: .*`} {
			if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(text) {
				t.Errorf("there is no line %s in\n%s", line, text)
			}
		}
	}
}
