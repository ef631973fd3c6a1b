package command

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A mistake is one line that says what to write, without the usage.
func TestMistakesAreOneLine(t *testing.T) {
	var usage bytes.Buffer
	process := func(args string) *Process {
		c := &Command{Name: "tool", Usage: "[flags] file...", Short: "Do", Examples: []string{"lemnos tool a.txt"}}
		return &Process{Command: c, Called: "./tool", Args: strings.Fields(args), Stdout: &usage}
	}
	set := func() *flag.FlagSet {
		fs := Flags("tool")
		fs.Bool("bias", false, "")
		fs.Bool("b", false, "")
		fs.Int("total_steps", 1, "")
		fs.Int("steps_more", 1, "")
		fs.Float64("lr_max", 1, "")
		fs.Uint64("seed", 1, "")
		fs.Duration("limit", 1, "")
		return fs
	}
	for _, c := range []struct{ args, want string }{
		{"-bias false", "-bias false is two arguments: write -bias=false"},
		{"--bias True x", "-bias True is two arguments: write -bias=True"},
		{"-total_step 3", "there is no flag -total_step, but -total_steps"},
		{"-steps=3", "there is no flag -steps, but -steps_more, -total_steps"},
		{"-lr-max 3", "there is no flag -lr-max, but -lr_max"},
		{"-LRMAX 3", "there is no flag -LRMAX, but -lr_max"},
		{"-bais", "there is no flag -bais, but -bias"},
		{"-biad", "there is no flag -biad, but -bias"},
		{"-zzzz", "there is no flag -zzzz"},
		{"-total_steps many", `invalid value "many" for flag -total_steps: want an integer`},
		{"-total_steps 99999999999999999999", `invalid value "99999999999999999999" for flag -total_steps: value out of range`},
		{"-bias=9", `invalid boolean value "9" for -bias: want true or false`},
		{"-lr_max 1,5", `invalid value "1,5" for flag -lr_max: want a number`},
		{"-seed -1", `invalid value "-1" for flag -seed: want an integer that is not negative`},
		{"-limit 90", `invalid value "90" for flag -limit: want a time, such as 90s`},
		{"-total_steps", "flag needs an argument: -total_steps"},
		{"a -bias", "-bias stands after a: flags come first"},
		{"a b --total_steps=3", "--total_steps=3 stands after a: flags come first"},
		{"-total_steps 3 a", ""},
		{"-bias=false a - -x", ""},
		{"-bias no", ""},
		{"-- -bias", ""},
		{"true", ""},
	} {
		err := process(c.args).Parse(set())
		want := "tool: " + c.want + "; -help lists the flags"
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%q: %v, want %q", c.args, err, want)
		}
		if c.want != "" && Status(err, &bytes.Buffer{}) != Usage {
			t.Errorf("%q: status %d, want %d", c.args, Status(err, &bytes.Buffer{}), Usage)
		}
	}
	if err := process("-bias x").ParseFlags(set()); err == nil || !strings.Contains(err.Error(), `unexpected argument "x"`) {
		t.Errorf("an argument where none is taken: %v", err)
	}
	if usage.Len() > 0 {
		t.Errorf("mistakes have written the usage:\n%s", &usage)
	}
	var log bytes.Buffer
	if Status(errors.New("open a\x1b[2J\u202eb:\r\nno"), &log); log.String() != "open a\uFFFD[2J\uFFFDb:\nno\n" {
		t.Errorf("a terminal would obey %q", log.String())
	}
	err := process("-bias -help").Parse(set())
	if !errors.Is(err, flag.ErrHelp) || Status(err, &usage) != 0 || !strings.HasPrefix(usage.String(), "usage: ./tool [flags] file...\n\nDo.\n") || !strings.Contains(usage.String(), "-lr_max") || !strings.Contains(usage.String(), "\n  ./tool a.txt\n") {
		t.Errorf("-help: %v, and\n%s", err, &usage)
	}
}

func TestAtOnceDoesNotWait(t *testing.T) {
	var log bytes.Buffer
	p := &Process{Command: &Command{Name: "tool"}, Stderr: &log}
	never := AtOnce(func(*Process) error {
		self, _ := os.FindProcess(os.Getpid())
		if err := self.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		return nil
	})
	if runtime.GOOS != "windows" { // which has no signals to send
		if status := never(p); status != Interrupted || log.String() != "tool: interrupted\n" {
			t.Errorf("interrupted: status %d, %q", status, log.String())
		}
	}
	log.Reset()
	if status := AtOnce(func(*Process) error { return errors.New("failed") })(p); status != Failed || log.String() != "failed\n" {
		t.Errorf("status %d, %q", status, log.String())
	}
}

// A program is called as it was called, with the others beside it.
func TestCall(t *testing.T) {
	dir := t.TempDir()
	ext := ""
	if runtime.GOOS == "windows" {
		ext = ".exe"
	}
	for _, name := range []string{"train", "sample"} {
		if err := os.WriteFile(filepath.Join(dir, name+ext), nil, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	train, sample := filepath.Join(dir, "train"+ext), filepath.Join(dir, "sample"+ext)
	run := "/tmp/go-build1/b001/exe"
	for _, c := range []struct {
		called, name string
		whole        bool
		tool, want   string
	}{
		{train, "train", false, "sample", Quote(sample)},
		{sample, "sample", false, "sample", Quote(sample)},
		{filepath.Join("none", "renamed"+ext), "sample", false, "sample", Quote(filepath.Join("none", "renamed"+ext))},
		{sample, "sample", false, "tokenize", "go run github.com/lemnos-ml/lemnos/tools/tokenize"},
		{"no-such-tool-on-the-path", "train", false, "no-such-tool", "go run github.com/lemnos-ml/lemnos/tools/no-such-tool"},
		{run + "/train", "train", false, "train", "go run github.com/lemnos-ml/lemnos/tools/train"},
		{`C:\cache\0a\` + strings.Repeat("0a", 32) + `-d\train.exe`, "train", false, "train", "go run github.com/lemnos-ml/lemnos/tools/train"},
		{"/opt/go-build/train", "train", false, "train", "/opt/go-build/train"},
		{run + "/lemnos", "train", true, "sample", "go run github.com/lemnos-ml/lemnos/tools/lemnos sample"},
		{"lemnos", "train", true, "train", "lemnos train"},
		{"./lemnos", "train", true, "sample", "./lemnos sample"},
		{"/my tools/lm", "train", true, "sample", Quote("/my tools/lm") + " sample"},
		{`..\lemnos.exe`, "train", true, "train", `..\lemnos.exe train`},
	} {
		if strings.Contains(c.called, `\`) && runtime.GOOS != "windows" {
			continue
		}
		p := &Process{Command: &Command{Name: c.name}, Called: c.called, Whole: c.whole}
		if got := p.Call(c.tool); got != c.want {
			t.Errorf("%s: %s is %s, want %s", c.called, c.tool, got, c.want)
		}
	}
}

// Where the go command runs programs from is its own business, and has changed.
func TestCallUnderGoRun(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module example.org/train\n\ngo 1.24\n",
		"main.go": "package main\n\nimport \"os\"\n\nfunc main() { print(os.Args[0]) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for start := range 2 { // the second is from the cache
		run := exec.Command("go", "run", ".")
		run.Dir, run.Env = dir, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
		called, err := run.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, called)
		}
		p := &Process{Command: &Command{Name: "train"}, Called: string(called)}
		if got, want := p.Call("train"), "go run github.com/lemnos-ml/lemnos/tools/train"; got != want {
			t.Errorf("start %d: %s is called by %q, want %s", start, called, got, want)
		}
	}
}

func TestQuote(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("quotes are the Unix shell's")
	}
	for _, word := range []string{"", "a b", "it's", "$HOME", "a\nb", "[a]^%.txt", "-x=1,2"} {
		out, err := exec.Command("sh", "-c", "printf %s "+Quote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q: %q, %v", word, out, err)
		}
	}
	if got := fmt.Sprint(Quote("a/b-1.txt"), Quote("a b")); got != "a/b-1.txt'a b'" {
		t.Error(got)
	}
}
