package train

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/output"
)

// runFolder returns the configuration of a run in a new folder that holds files,
// given as name and contents; a contents of "dir" makes a folder, "-> x" a link.
func runFolder(t *testing.T, files map[string]string) Config {
	t.Helper()
	c := DefaultConfig()
	c.CkptDir, c.RunName = t.TempDir(), "run"
	if err := os.MkdirAll(c.Dir(), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(c.Dir(), name)
		var err error
		switch target, isLink := strings.CutPrefix(text, "-> "); {
		case text == "dir":
			err = os.Mkdir(path, 0o777)
		case isLink:
			err = os.Symlink(target, path)
		case text == "ours":
			err = c.Write(path)
		default:
			err = os.WriteFile(path, []byte(text), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

const someCheckpoint = "checkpoint-00000007.safetensors"

func TestCheckFolder(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		fresh bool
		want  string // in the error; "" for none
	}{
		{"empty", nil, false, ""},
		{"a run", map[string]string{"config.json": "ours", "metrics.jsonl": "", "loss.png": "", someCheckpoint: ""}, true, ""},
		{"a run without its configuration", map[string]string{"metrics.jsonl": "", someCheckpoint: ""}, false, ""},
		{"files of other names", map[string]string{"notes.txt": "x", "sub": "dir", "model.safetensors": ""}, true, ""},
		{"a model's configuration", map[string]string{"config.json": `{"model_type":"gpt2"}`}, false, "config.json that no run wrote"},
		{"the same, afresh", map[string]string{"config.json": `{"model_type":"gpt2"}`}, true, "config.json that no run wrote"},
		{"a configuration that is no object", map[string]string{"config.json": `[]`, someCheckpoint: ""}, false, "config.json that no run wrote"},
		{"a configuration that is a folder", map[string]string{"config.json": `dir`}, false, "config.json that no run wrote"},
		{"another's metrics", map[string]string{"metrics.jsonl": "{}"}, false, "metrics.jsonl that no run wrote"},
		{"another's plot", map[string]string{"loss.png": ""}, false, "loss.png that no run wrote"},
		{"another's drawing", map[string]string{"loss.svg": ""}, false, "loss.svg that no run wrote"},
		{"metrics that lead out", map[string]string{"config.json": "ours", "metrics.jsonl": "-> ../away"}, false, "metrics.jsonl that no run wrote"},
	} {
		cfg := runFolder(t, c.files)
		before := tree(t, cfg.CkptDir)
		wantErrorOrNil(t, c.name, cfg.CheckFolder(c.fresh), c.want)
		if after := tree(t, cfg.CkptDir); !slices.Equal(after, before) {
			t.Errorf("%s: the check changed %q to %q", c.name, before, after)
		}
	}
}

func wantErrorOrNil(t *testing.T, name string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: error is %v, want %q", name, err, want)
	}
}

// tree lists the paths below a folder.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		all = append(all, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCheckFolderOfNoFolder(t *testing.T) {
	c := DefaultConfig()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	c.CkptDir, c.RunName = file, "run"
	wantErrorOrNil(t, "ckpt_dir is a file", c.CheckFolder(false), "not a directory")
	c.CkptDir, c.RunName = dir, "file"
	wantErrorOrNil(t, "the run is a file", c.CheckFolder(false), "is a file")
	if err := os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dir, "link")); err == nil {
		for _, c.CkptDir = range []string{dir, filepath.Join(dir, "link")} {
			c.RunName = "link"
			wantErrorOrNil(t, "a link to nothing", c.CheckFolder(false), "link is a link to "+filepath.Join(dir, "gone")+", which is not there: create that folder or remove the link")
		}
		if err := os.Remove(filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
	}
	c.CkptDir, c.RunName = filepath.Join(dir, "new"), "run"
	wantErrorOrNil(t, "nothing there", c.CheckFolder(true), "")
	if got := tree(t, dir); !slices.Equal(got, []string{".", "file"}) {
		t.Errorf("the checks left %q", got)
	}
}

// What a run reads must not lie in the folder that it starts afresh.
func TestFreshRefusesWhatTheRunReads(t *testing.T) {
	inside := map[string]string{"config.json": "ours", someCheckpoint: "", "corpus.txt": "x"}
	for _, c := range []struct {
		name string
		set  func(c *Config) (reads []string)
	}{
		{"data", func(c *Config) []string { c.Data = filepath.Join(c.Dir(), "corpus.txt"); return nil }},
		{"data through a link", func(c *Config) []string {
			c.Data = filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(filepath.Join(c.Dir(), "corpus.txt"), c.Data); err != nil {
				t.Fatal(err)
			}
			return nil
		}},
		{"from a checkpoint", func(c *Config) []string { c.From = filepath.Join(c.Dir(), someCheckpoint); return nil }},
		{"from the run", func(c *Config) []string { c.From = c.Dir() + "/../run/."; return nil }},
		{"tokenizer", func(c *Config) []string { c.Tokenizer = filepath.Join(c.Dir(), "corpus.txt"); return nil }},
		{"configuration", func(c *Config) []string { return []string{"", filepath.Join(c.Dir(), "config.json")} }},
	} {
		cfg := runFolder(t, inside)
		reads := c.set(&cfg)
		wantErrorOrNil(t, c.name, cfg.CheckFolder(true, reads...), "is to be started afresh")
		wantErrorOrNil(t, c.name+", resumed", cfg.CheckFolder(false, reads...), "")
	}
	cfg := runFolder(t, inside)
	cfg.Data, cfg.From, cfg.Tokenizer = filepath.Join(cfg.CkptDir, "x.txt"), cfg.Dir()+"2", "bytes"
	wantErrorOrNil(t, "elsewhere", cfg.CheckFolder(true, cfg.CkptDir), "")
	link := cfg
	link.RunName = "link"
	if err := os.Symlink(cfg.Dir(), link.Dir()); err != nil {
		t.Fatal(err)
	}
	wantErrorOrNil(t, "a linked folder, afresh", link.CheckFolder(true), "is a link")
	wantErrorOrNil(t, "a linked folder", link.CheckFolder(false), "")
}

func TestRemoveRun(t *testing.T) {
	foreign := map[string]string{"notes.txt": "x", "sub": "dir", "model.safetensors": "", "run-00000007.safetensors": "", ".notes.txt.00ff.tmp": "", "checkpoint-7.safetensors": "", "events.out.tfevents.1790000000.host.1.0": "", "events.out.tfevents.7.lemnos": "",
		"checkpoint-00000009.safetensors": "-> ../outside", "checkpoint-00000010.safetensors": "dir"}
	stay := []string{"config.json", "run.lock"}
	half := []string{".checkpoint-00000008.safetensors.00ff.tmp", ".loss.png.1234567890abcdef.tmp", ".metrics.jsonl.12.tmp", ".config.json.12.tmp"}
	run := []string{someCheckpoint, "metrics.jsonl", "loss.png", "loss.svg", "events.out.tfevents.1790000000.lemnos"}
	for _, all := range []bool{false, true} {
		cfg := runFolder(t, foreign)
		if err := os.WriteFile(filepath.Join(cfg.CkptDir, "outside"), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, name := range slices.Concat(stay, half, run) {
			if err := os.WriteFile(filepath.Join(cfg.Dir(), name), nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := removeRun(output.OS{}, cfg.Dir(), all); err != nil {
			t.Fatal(err)
		}
		want := slices.Concat([]string{"."}, stay)
		for name := range foreign {
			want = append(want, name)
		}
		if !all {
			want = append(want, run...)
		}
		slices.Sort(want)
		got := tree(t, cfg.Dir())
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("all %v: %q are left, want %q", all, got, want)
		}
		if _, err := os.Stat(filepath.Join(cfg.CkptDir, "outside")); err != nil {
			t.Errorf("all %v: the target of a link: %v", all, err)
		}
	}
}

func TestLockFolder(t *testing.T) {
	cfg := runFolder(t, map[string]string{"config.json": "ours"})
	lock, err := lockFolder(cfg.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockFolder(cfg.Dir()); !errors.Is(err, ErrRunning) {
		t.Errorf("locked twice: %v", err)
	}
	if err := cfg.CheckFolder(false); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), cfg.Dir()) {
		t.Errorf("checked while locked: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := cfg.CheckFolder(true); err != nil { // the file that is left means nothing
		t.Error(err)
	}
}

func TestExportOverwritesNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a run", map[string]string{"config.json": "ours", someCheckpoint: ""}, someCheckpoint},
		{"a run before its first checkpoint", map[string]string{"run.lock": ""}, "run.lock"},
		{"a configuration", map[string]string{"config.json": "{}"}, "config.json"},
		{"a tokenizer", map[string]string{"tokenizer.json": "{}"}, "tokenizer.json"},
		{"other files", map[string]string{"README.md": "x"}, ""},
	} {
		wantErrorOrNil(t, c.name, checkExport(runFolder(t, c.files).Dir()), c.want)
	}
	wantErrorOrNil(t, "a new folder", checkExport(filepath.Join(t.TempDir(), "new")), "")
}
