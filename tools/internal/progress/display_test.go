package progress

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/lemnos-ml/lemnos/train"
)

// live returns a display on a screen.
func live(t *testing.T, columns int, style style) (*Display, *screen) {
	s := newScreen(t, columns)
	return newDisplay(terminal{s, s.width, style}), s
}

// record is one of a step; val is 0 for none.
func record(step int64, loss, val float64) train.Record {
	norm, lr, speed := 0.41, 3e-4, 81234.0
	r := train.Record{Step: step, Loss: &loss, GradNorm: &norm, LR: &lr, TokensPerS: &speed}
	if val > 0 {
		r.ValLoss = &val
	}
	return r
}

// steps tells of steps that take 10 ms each, with records.
func steps(h train.Hooks, from, to int64) {
	for n := from + 1; n <= to; n++ {
		h.Step(n)
		if n%10 == 0 {
			h.Progress(record(n, 3-float64(n)/1000, 0))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// What scrolls stands above the live line, which is taken away in the end.
func TestLiveLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := live(t, 120, style{})
		h := d.Hooks(nil, train.Config{TotalSteps: 2000})
		h.Phase(train.Phase{Name: "compiling kernels", Unit: "kernels"})
		time.Sleep(2 * time.Second)
		h.Phase(train.Phase{Name: "compiling kernels", Done: 14, Total: 56, Unit: "kernels"})
		time.Sleep(2 * time.Second)
		if got, want := s.shows(), strings.Repeat("=", 10)+strings.Repeat("-", 30)+"  compiling kernels  14/56  25%  eta 12s"; got != want {
			t.Errorf("compiling shows\n%q, want\n%q", got, want)
		}
		h.Phase(train.Phase{Name: "compiling kernels", Done: 56, Total: 56, Unit: "kernels"})
		steps(h, 0, 500)
		h.Progress(record(500, 2.5, 2.95))
		fmt.Fprint(d, "--- sample of step 500\nof the \x1b[31mbell\a\r\n\xff 日本 no end")
		time.Sleep(time.Second)
		want := "compiling kernels took 4s for 56 kernels\n" +
			"step 500/2000  loss 2.500  val 2.950  lr 3.0e-04  grad 0.41  81.2k tok/s  eta 15s\n" +
			"--- sample of step 500\nof the \uFFFD[31mbell\uFFFD\n"
		line := `^=+-+  500/2000  25%  eta 15s  loss 2.500  \(-0.0\d+\)  val 2.950  81.2k tok/s  lr 3.0e-04  grad 0.41$`
		if got := s.shows(); got[:len(want)] != want || !regexp.MustCompile(line).MatchString(got[len(want):]) {
			t.Errorf("training shows\n%s, want\n%s", got, want+line)
		}
		fmt.Fprint(d, " here\nand no end")
		s.types("^C")
		d.Close()
		d.Write([]byte("too late\n"))
		h.Step(501)
		time.Sleep(time.Second)
		if got, want := s.shows(), want+"\uFFFD 日本 no end here\nand no end\n"; got != want {
			t.Errorf("in the end it shows\n%q, want\n%q", got, want)
		}
	})
}

// No line is longer than the terminal is wide, and the most important fields stay.
func TestWidths(t *testing.T) {
	for _, style := range []style{{}, {colour: true, lines: true}} {
		synctest.Test(t, func(t *testing.T) {
			d, s := live(t, 200, style)
			defer d.Close()
			h := d.Hooks(nil, train.Config{TotalSteps: 2000})
			h.Plan(train.MemoryPlan{Parameters: 1.2e9})
			steps(h, 0, 500)
			for columns := 200; columns > 0; columns-- {
				s.resize(columns)
				time.Sleep(2 * redrawEvery)
				got := s.shows()
				if n := utf8.RuneCountInString(got); strings.Contains(got, "\n") || n >= columns && columns > 1 {
					t.Fatalf("%d columns: %q has %d", columns, got, n)
				}
				for field, from := range map[string]int{"500/2000": 9, "25%": 15, "eta 15s": 25, "loss 2.500": 60, "tok/s": 90, "grad": 110, "mem 1.2GB": 125} {
					if strings.Contains(got, field) != (columns >= from) && (columns >= from || columns < 9) {
						t.Errorf("%d columns: %q, want %s from %d columns on", columns, got, field, from)
					}
				}
			}
			s.resize(120)
			time.Sleep(2 * redrawEvery)
			if got := s.shows(); strings.Contains(got, "\n") || !strings.Contains(got, "grad") {
				t.Errorf("wider again: %q", got)
			}
			if (s.coded > 1000) != style.colour {
				t.Errorf("%d sequences", s.coded)
			}
		})
	}
}

// The share of the ceilings is shown where they are known, and are ceilings.
func TestShareOfCeilings(t *testing.T) {
	for least, want := range map[float64]string{0: "", 2.5e6: "20% of ceiling", 1e7: "81% of ceiling", 2e7: ""} {
		s := state{total: 10, tokens: 1000, least: least}
		s.submitted(1, time.Now())
		s.record(record(1, 3, 0)) // 81,234 tokens/s: 12.3 ms a step
		line := s.live(time.Now(), 200, style{})
		if strings.Contains(line, "ceiling") != (want != "") || !strings.Contains(line, want) {
			t.Errorf("least %v ns: %q, want %q", s.least, line, want)
		}
	}
}

// The rate is that of the steps of this call, evaluations included.
func TestETA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s state
		s.total = 10000
		if _, ok := s.eta(); ok {
			t.Error("there is one before the first step")
		}
		evaluation := func() {
			s.phase(train.Phase{Name: "evaluating", Total: 8, Unit: "windows"}, time.Now())
			time.Sleep(5 * time.Second)
			s.phase(train.Phase{Name: "evaluating", Done: 8, Total: 8, Unit: "windows"}, time.Now())
		}
		near := func(want time.Duration) {
			t.Helper()
			if got, ok := s.eta(); !ok || math.Abs(got/want.Seconds()-1) > 0.05 {
				t.Errorf("step %d: %v, %v, want %v", s.step, got, ok, want)
			}
		}
		for step := int64(6001); step <= 8000; step++ { // resumed from 6000
			s.submitted(step, time.Now())
			time.Sleep(10 * time.Millisecond)
			if _, ok := s.eta(); ok && step < 6050 {
				t.Fatalf("there is one at step %d", step)
			}
			if step == 6060 {
				near(39400 * time.Millisecond)
			}
			if step%100 == 0 {
				evaluation()
			}
		}
		near(20 * 6 * time.Second)                      // 100 steps and an evaluation take 6 s
		for step := int64(8001); step <= 9000; step++ { // slower
			s.submitted(step, time.Now())
			time.Sleep(50 * time.Millisecond)
			if step%100 == 0 {
				evaluation()
			}
		}
		near(10 * 10 * time.Second)
	})
}

// stopped is a terminal at which somebody pressed Ctrl-S.
type stopped struct{ go_ chan struct{} }

func (s stopped) Write(p []byte) (int, error) {
	<-s.go_
	return len(p), nil
}

// Whoever does not read holds nothing up, and what waits for them has a limit.
func TestStoppedTerminal(t *testing.T) {
	for _, width := range []func() int{nil, func() int { return 80 }} {
		synctest.Test(t, func(t *testing.T) {
			w := stopped{make(chan struct{})}
			d := newDisplay(terminal{w, width, style{}})
			h := d.Hooks(nil, train.Config{TotalSteps: 100000})
			fmt.Fprintln(d, "the first line stops the display")
			time.Sleep(time.Second)
			started := time.Now()
			for n := range int64(100000) {
				h.Step(n + 1)
				fmt.Fprintln(d, strings.Repeat("sample ", 20))
				d.Logger().Warn("nobody reads this")
			}
			if took := time.Since(started); took > 0 {
				t.Errorf("it held up training for %v", took)
			}
			if n := d.lines.Len(); n > mostWaiting {
				t.Errorf("%d bytes wait", n)
			}
			d.Close()
			if took := time.Since(started); took != closeTime {
				t.Errorf("closing took %v", took)
			}
			close(w.go_)
		})
	}
}

// Without a terminal there are lines alone: no control characters, whatever the model writes.
func TestPlainLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := newDisplay(terminal{Writer: &out})
		h := d.Hooks(nil, train.Config{TotalSteps: 2000})
		h.Phase(train.Phase{Name: "loading data"})
		time.Sleep(1550 * time.Millisecond) // so that nothing else happens at the moments of the display
		h.Phase(train.Phase{Name: "loading data", Done: 1, Total: 1})
		h.Phase(train.Phase{Name: "tokenizing", Total: 20e6, Unit: "bytes"})
		for n := range int64(24) {
			time.Sleep(time.Second)
			h.Phase(train.Phase{Name: "tokenizing", Done: (n + 1) * 8e5, Total: 20e6, Unit: "bytes"})
		}
		h.Phase(train.Phase{Name: "tokenizing", Done: 20e6, Total: 20e6, Unit: "bytes"})
		d.Logger().Info("resuming", "checkpoint", "runs/a b.safetensors")
		d.Logger().With("step", 3).Warn("checkpoint not saved", "error", io.ErrUnexpectedEOF)
		d.Logger().Warn("no color")
		steps(h, 1000, 1500)
		h.Progress(record(1500, 2.913, 2.95))
		fmt.Fprint(d, "\x1b]0;title\a\x00\u009b2J\r\n")
		h.Step(2000)
		h.Progress(record(2000, 2.5, 0))
		d.Close()
		text := out.String()
		for _, r := range text {
			if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 {
				t.Errorf("character %q is written", r)
			}
		}
		want := []string{"loading data  1s", "loading data took 2s", "tokenizing  800kB/20MB  4%  eta 25s", "tokenizing  8.8MB/20MB  44%  eta 14s", "tokenizing  16.8MB/20MB  84%  eta 4s", "tokenizing took 24s for 20MB",
			`resuming  checkpoint="runs/a b.safetensors"`, `warning: checkpoint not saved  step=3 error="unexpected EOF"`, "warning: no color",
			"step 1500/2000  loss 2.913  val 2.950  lr 3.0e-04  grad 0.41  81.2k tok/s  eta 5s", "step 2000/2000  loss 2.500  lr 3.0e-04  grad 0.41  81.2k tok/s"}
		rest := text
		for _, line := range want {
			_, after, ok := strings.Cut(rest, line+"\n")
			if !ok {
				t.Errorf("%q is missing in\n%s", line, rest)
			}
			rest = after
		}
	})
}

// Only a terminal that can be has a live line, and colours only where they are wanted.
func TestTerminalOf(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, w := range []io.Writer{file, w, new(bytes.Buffer)} {
		if terminalOf(w).live() {
			t.Errorf("%T %v is taken for a terminal", w, w)
		}
	}
	for locale, want := range map[string]bool{"": false, "C": false, "C.UTF-8": true, "en_US.utf8": true, "de_DE.ISO-8859-1": false, "ja_JP.UTF-8": false} {
		if drawsLines(locale) != want {
			t.Errorf("%q: %v, want %v", locale, !want, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for want, got := range map[string]string{
		"0": short(0), "999": short(999), "1.2k": short(1234), "81.2k": short(81234), "81k": short(81000), "812k": short(812345), "1.0M": short(999999), "3.4G": short(3.4e9), "1200T": short(1.2e15),
		"0.60": norm(0.6), "0.58": norm(0.579), "12": norm(12), "1.2e-05": norm(1.2e-5), "9.9": norm(9.94), "123": norm(123.4), "NaN": norm(math.NaN()),
		"14/56": count(14, 56, "kernels"), "12.3MB/20MB": count(12.3e6, 20e6, "bytes"), "7": count(7, 0, "bytes")[:1], "1.2M/3.4M": count(1.2e6, 3.4e6, "tokens"), "500/20000": count(500, 20000, "steps"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
