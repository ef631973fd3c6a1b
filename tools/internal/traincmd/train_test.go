package traincmd

import (
	"errors"
	"flag"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train"
)

// of is a process with arguments.
func of(args string) *command.Process {
	return &command.Process{Command: Command, Called: "train", Args: strings.Fields(args)}
}

func TestParse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	own := train.DefaultConfig()
	own.Layers = 9
	if err := own.Write(file); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		layers int
		width  int
		run    string
	}{
		{"", 3, 96, "tiny"},
		{"-preset gpt2-124m", 12, 768, "gpt2-124m"},
		{"-layers 2 -preset=gpt2-124m -run_name x", 2, 768, "x"},
		{"-config " + file, 9, 512, "cs336_lm_run"},
		{"-config " + file + " -layers 3", 3, 512, "cs336_lm_run"},
	} {
		cfg, _, err := parse(of(c.args))
		if err != nil || cfg.Layers != c.layers || cfg.Width != c.width || cfg.RunName != c.run {
			t.Errorf("%q: %d layers of width %d in %s, %v; want %+v", c.args, cfg.Layers, cfg.Width, cfg.RunName, err, c)
		}
	}
	for args, want := range map[string]string{
		"-preset gpt9":                      "gpt9",
		"-config " + file + " -preset none": "none",
		"-config none.json":                 "none.json",
		"-layers many":                      "layers",
		"-layers 0":                         "layers is 0",
		"corpus.txt":                        "corpus.txt",
		"-config a.toml --config=b.toml":    `invalid value "b.toml" for flag -config: there is one file, and a.toml is named before`,
	} {
		if _, _, err := parse(of(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want one that says %q", args, err, want)
		}
	}
}

// The usage shows what a flag's absence means: the preset's value.
func TestHelpShowsThePreset(t *testing.T) {
	for args, want := range map[string]string{"-help": "(default 96)", "-preset gpt2-124m -help": "(default 768)"} {
		var usage strings.Builder
		p := of(args)
		p.Stdout = &usage
		if _, _, err := parse(p); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: error is %v, want flag.ErrHelp", args, err)
		}
		_, after, _ := strings.Cut(usage.String(), "  -width value\n")
		line, _, _ := strings.Cut(after, "\n")
		if !strings.Contains(line, want) {
			t.Errorf("%q: the width is shown as %q, want %s", args, line, want)
		}
	}
}
