package tokenizecmd

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

func TestTokenize(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "a.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("Hello, world! ", 50)), 0o666); err != nil {
		t.Fatal(err)
	}
	tokenize := func(args ...string) (string, error) {
		var out, log bytes.Buffer
		err := run(context.Background(), &command.Process{Command: Command, Called: "tokenize", Args: args, Stdout: &out, Stderr: &log})
		return out.String(), err
	}
	out, err := tokenize("-tokenizer", "bytes", text)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"700 bytes of text are 700 tokens of 2 bytes", "630 tokens in " + filepath.Join(dir, "a.train.bin"), "70 tokens in", "-vocab 256"} {
		if !strings.Contains(out, want) {
			t.Errorf("it says %q, want %q", out, want)
		}
	}
	file, err := os.Open(text)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stdin := os.Stdin
	defer func() { os.Stdin = stdin }()
	os.Stdin = file
	out, err = tokenize("-tokenizer", "bytes", "-o", filepath.Join(dir, "b"), "-")
	if err != nil || !strings.Contains(out, "630 tokens in "+filepath.Join(dir, "b.train.bin")) {
		t.Errorf("from the standard input: %q, %v", out, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tiny.txt"), []byte("Hello"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, fraction := range []string{"0.2", "0.1"} { // of 5 tokens: one, and none
		out, err = tokenize("-tokenizer", "bytes", "-val_fraction", fraction, filepath.Join(dir, "tiny.txt"))
		_, none := os.Stat(filepath.Join(dir, "tiny.val.bin"))
		const told = "0 tokens are held out: -val_fraction 0.1 of 5 is less than one\n"
		if err != nil || strings.Contains(out, told) != (fraction == "0.1") || (none != nil) != (fraction == "0.1") {
			t.Errorf("-val_fraction %s: %q, %v; tiny.val.bin: %v", fraction, out, err, none)
		}
	}
	for want, args := range map[string][]string{
		"say with -o": {"-"}, "no text file given": {}, "there is no flag -x": {"-x"}, "-o stands after " + text + ": flags come first": {text, text, "-o", "zz"}, "none.txt": {filepath.Join(dir, "none.txt")},
		`tokenizer is "gpt3"`: {"-tokenizer", "gpt3", text}, "val_fraction is 1": {"-val_fraction", "1", text},
	} {
		if _, err := tokenize(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
	if _, err := tokenize("-help"); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
}
