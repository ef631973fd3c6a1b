package command

import (
	"bytes"
	"context"
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
	set := func() *flag.FlagSet {
		fs := Flags("tool", "tool [flags] file...")
		fs.SetOutput(&usage)
		fs.Bool("bias", false, "")
		fs.Bool("b", false, "")
		fs.Int("total_steps", 1, "")
		fs.Int("steps_more", 1, "")
		fs.Float64("lr_max", 1, "")
		return fs
	}
	for _, c := range []struct{ args, want string }{
		{"-bias false", "-bias false is two arguments: write -bias=false"},
		{"--bias True x", "-bias True is two arguments: write -bias=True"},
		{"-total_step 3", "there is no flag -total_step, but -total_steps"},
		{"-steps=3", "there is no flag -steps, but -steps_more, -total_steps"},
		{"-lr-max 3", "there is no flag -lr-max, but -lr_max"},
		{"-LRMAX 3", "there is no flag -LRMAX, but -lr_max"},
		{"-bais", "there is no flag -bais"},
		{"-biad", "there is no flag -biad, but -bias"},
		{"-zzzz", "there is no flag -zzzz"},
		{"-total_steps many", `invalid value "many" for flag -total_steps: parse error`},
		{"-bias=9", `invalid boolean value "9" for -bias: parse error`},
		{"-total_steps", "flag needs an argument: -total_steps"},
		{"a -bias", "-bias stands after a: flags come first"},
		{"a b --total_steps=3", "--total_steps=3 stands after a: flags come first"},
		{"-total_steps 3 a", ""},
		{"-bias=false a - -x", ""},
		{"-bias no", ""},
		{"-- -bias", ""},
		{"true", ""},
	} {
		err := Parse(set(), strings.Fields(c.args))
		want := "tool: " + c.want + "; -help lists the flags"
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%q: %v, want %q", c.args, err, want)
		}
		if c.want != "" && Status(err, &bytes.Buffer{}) != Usage {
			t.Errorf("%q: status %d, want %d", c.args, Status(err, &bytes.Buffer{}), Usage)
		}
	}
	if err := NoOperands(set(), []string{"-bias", "x"}); err == nil || !strings.Contains(err.Error(), `unexpected argument "x"`) {
		t.Errorf("an argument where none is taken: %v", err)
	}
	if usage.Len() > 0 {
		t.Errorf("mistakes have written the usage:\n%s", &usage)
	}
	err := Parse(set(), []string{"-bias", "-help"})
	if !errors.Is(err, flag.ErrHelp) || Status(err, &usage) != 0 || !strings.HasPrefix(usage.String(), "usage: tool [flags] file...\n") || !strings.Contains(usage.String(), "-lr_max") {
		t.Errorf("-help: %v, and\n%s", err, &usage)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"abc", "abc", 0}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestAtOnceDoesNotWait(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	never := AtOnce(func([]string) error { cancel(); time.Sleep(time.Hour); return nil })
	if err := never(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	failed := errors.New("failed")
	if err := AtOnce(func([]string) error { return failed })(context.Background(), nil); err != failed {
		t.Errorf("got %v", err)
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
	for _, c := range []struct{ called, tool, want string }{
		{train, "sample", Quote(sample)},
		{sample, "sample", Quote(sample)},
		{filepath.Join("none", "sample"+ext), "sample", Quote(filepath.Join("none", "sample"+ext))},
		{sample, "tokenize", "go run github.com/lemnos-ml/lemnos/tools/tokenize"},
		{"no-such-tool-on-the-path", "no-such-tool", "go run github.com/lemnos-ml/lemnos/tools/no-such-tool"},
		{"/tmp/go-build1/b001/exe/train", "train", "go run github.com/lemnos-ml/lemnos/tools/train"},
		{`C:\cache\0a\` + strings.Repeat("0a", 32) + `-d\train.exe`, "train", "go run github.com/lemnos-ml/lemnos/tools/train"},
		{"/opt/go-build/train", "train", "/opt/go-build/train"},
	} {
		if strings.Contains(c.called, `\`) && runtime.GOOS != "windows" {
			continue
		}
		if got := Call(c.called, c.tool); got != c.want {
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
		if got, want := Call(string(called), "train"), "go run github.com/lemnos-ml/lemnos/tools/train"; got != want {
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
