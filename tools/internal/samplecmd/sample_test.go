package samplecmd

import (
	"context"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

func TestMain(m *testing.M) { vktest.Main(m) }

// A model of 50 tokens, which knows the first 50 bytes.
const model = "../../../train/hf/testdata/llama"

// sample runs the command.
func sample(ctx context.Context, args []string, out, log io.Writer) error {
	return run(ctx, &command.Process{Command: Command, Args: args, Stdout: out, Stderr: log})
}

func TestSample(t *testing.T) {
	vktest.Open(t) // skips without a device
	text := func(args ...string) (out, log string) {
		t.Helper()
		var o, l strings.Builder
		if err := sample(context.Background(), append(args, "-tokenizer", "bytes", model), &o, &l); err != nil {
			t.Fatal(err)
		}
		return o.String(), l.String()
	}
	a, log := text("-n", "30", "-prompt", "1 + 1", "-temperature", "2")
	if !strings.HasPrefix(a, "1 + 1") || len(a) != len("1 + 1")+30+1 {
		t.Errorf("30 bytes after the prompt are %q", a)
	}
	if !strings.Contains("\n"+log, "\n30 tokens in ") || !strings.Contains(log, "tokens/s on ") {
		t.Errorf("the log is %q", log)
	}
	if b, _ := text("-n", "30", "-prompt", "1 + 1", "-temperature", "2", "-dtype", "f32", "-seed", "1"); a != b {
		t.Errorf("the same choices gave %q, then %q", a, b)
	}
	if b, _ := text("-n", "30", "-prompt", "1 + 1", "-temperature", "2", "-seed", "2"); a == b {
		t.Errorf("seeds 1 and 2 both gave %q", a)
	}

	var ids, errs strings.Builder
	if err := sample(context.Background(), []string{"-tokenizer", "ids", "-n", "3", "-prompt", "7 9", model}, &ids, &errs); err != nil || len(strings.Fields(ids.String())) != 5 {
		t.Errorf("three ids after 7 9 are %q, %v", ids.String(), err)
	}

	// What Ctrl-C does.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out strings.Builder
	errs.Reset()
	err := sample(ctx, []string{"-tokenizer", "bytes", "-prompt", "1", model}, &out, &errs)
	if !errors.Is(err, context.Canceled) || out.Len() > 0 && out.String() != "1\n" {
		t.Errorf("canceled: %v and %q", err, out.String())
	}
}

func TestSampleErrors(t *testing.T) {
	for want, args := range map[string][]string{
		"name a checkpoint":         {},
		`unexpected argument "b"`:   {"a", "b"},
		"-n is 0":                   {"-n", "0", "a"},
		"-context -1":               {"-context", "-1", "a"},
		"temperature is -1":         {"-temperature", "-1", "a"},
		"top k is -1":               {"-top_k", "-1", "a"},
		"top p is 2":                {"-top_p", "2", "a"},
		`-dtype is "f64"`:           {"-dtype", "f64", "a"},
		"there is no flag -nothing": {"-nothing", "a"},
		"-n stands after a":         {"a", "-n", "3"},
		"help requested":            {"-help"},
	} {
		err := sample(context.Background(), args, &strings.Builder{}, &strings.Builder{})
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, flag.ErrHelp) != (want == "help requested") {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
	vktest.Open(t)
	for want, args := range map[string][]string{
		"no tokenizer.json":            {model},
		`tokenizer is "x"`:             {"-tokenizer", "x", model},
		"outside the vocabulary of 50": {"-tokenizer", "bytes", "-prompt", "a", model},
		"the tokenizer, bytes, has 256 ids, and the model a vocabulary of 50":  {"-tokenizer", "bytes", "-prompt", "a", model},
		"the tokenizer, gpt2, has 50257 ids, and the model a vocabulary of 50": {"-tokenizer", "gpt2", model},
		"none: no such file": {"none"},
	} {
		err := sample(context.Background(), args, &strings.Builder{}, &strings.Builder{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}
