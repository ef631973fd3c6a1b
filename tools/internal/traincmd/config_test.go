//go:build unix

package traincmd

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

// What -print-config writes is the same run for -config -: the same config.json, and the
// same parameters in the end.
func TestPrintedConfigIsTheSameRun(t *testing.T) {
	r := newToolRun(t, "-total_steps 5 -betas 0.8,0.91 -grad_clip_norm none")
	printed := r.process("-print-config").start()
	printed.ends(0, patience)
	r.process().start().ends(0, patience)
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(r.folder(), name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	state, config := r.state(), read("config.json")
	if _, err := os.Stat(filepath.Join(r.folder(), "given.toml")); err == nil {
		t.Error("without -config the folder has a given.toml")
	}

	text := "# mine\n" + printed.out.String()
	again := r.process("-fresh")
	again.Args = append(again.Args[:1], "-config", "-", "-sample", "0", "-fresh")
	again.Stdin = strings.NewReader(text)
	again.start().ends(0, patience)
	if !maps.Equal(r.state(), state) || read("config.json") != config {
		t.Errorf("it ends as another run; config.json is\n%s\nand was\n%s", read("config.json"), config)
	}
	if read("given.toml") != text {
		t.Errorf("the folder keeps\n%s\nof\n%s", read("given.toml"), text)
	}

	// The folder's own file goes on with the run, and JSON is kept as JSON.
	r.process("-config", filepath.Join(r.folder(), "given.toml"), "-total_steps", "7").start().ends(0, patience)
	if r.saved() != 7 {
		t.Errorf("step %d is saved, want 7", r.saved())
	}
	own := filepath.Join(r.dir, "own.json")
	if err := os.WriteFile(own, []byte(`{"preset": "tiny"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	r.process("-config", own, "-fresh").start().ends(0, patience)
	if read("given.json") != `{"preset": "tiny"}` {
		t.Errorf("given.json is %s", read("given.json"))
	}
	if _, err := os.Stat(filepath.Join(r.folder(), "given.toml")); err == nil {
		t.Error("-fresh left given.toml")
	}
	if err := os.WriteFile(own+".toml", []byte(`preset = "tiny"`), 0o666); err != nil {
		t.Fatal(err)
	}
	r.process("-config", own+".toml", "-total_steps", "9").start().ends(0, patience)
	if _, err := os.Stat(filepath.Join(r.folder(), "given.json")); err == nil || read("given.toml") != `preset = "tiny"` {
		t.Errorf("the folder keeps the file of an earlier start, and of this one %s", read("given.toml"))
	}
	wrong := r.process("-config", "-").start()
	wrong.ends(command.Failed, patience)
	if !strings.Contains(wrong.errors.String(), "the standard input is empty") {
		t.Errorf("an empty input: %q", wrong.errors.String())
	}
}

// What the run will do is said before it does anything; with -plan that is all.
func TestPlannedRunIsNotRun(t *testing.T) {
	r := newToolRun(t, "-total_steps 5")
	planned := r.process("-plan").start()
	planned.ends(0, patience)
	for _, want := range []string{"  model   bigram, 65,536 parameters, ", "  steps   5, of 32 tokens: 160 in all, ", "  disk    ", "memory in full:\n  parameters ", "  on the host "} {
		if !strings.Contains(planned.out.String(), want) {
			t.Errorf("no %q in\n%s", want, planned.out.String())
		}
	}
	if _, err := os.Stat(r.folder()); err == nil {
		t.Error("the folder was made")
	}
	run := r.process().start()
	run.ends(0, patience)
	if out := run.out.String(); !strings.Contains(out, "  steps   5, of 32 tokens") || strings.Index(out, "  steps   5") > strings.Index(out, "loss ") {
		t.Errorf("not said before the first step:\n%s", out)
	}
}
