package train

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func tomlFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run.toml")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTOMLErrors(t *testing.T) {
	for text, want := range map[string]string{
		"seed = 1\nbatchsize = 3\n":          `line 2, column 1: unknown field "batchsize", but there is batch_size`,
		"  totl_steps = 3":                   `line 1, column 3: unknown field "totl_steps", but there is total_steps`,
		"Batch_Size = 3":                     `unknown field "Batch_Size", but there is batch_size`,
		"\"\" = 3":                           `unknown field ""`,
		"seed = 1\nkeep = 2\nseed = 1":       "line 3, column 1: Key 'seed' has already been defined",
		"seed = 1\n\"seed\" = 1":             "line 2, column 2: Key 'seed' has already been defined",
		"seed = 1 2":                         "line 1, column 9: expected a top-level item to end",
		"seed = 1\nrun_name = 07:32:00":      "line 2, column 1: run_name: is a date or a time",
		"lr_max = 1979-05-27":                "line 1, column 1: lr_max: is a date or a time",
		"seed =\n":                           "line 1, column",
		"keep = 1\nseed":                     "line 2, column",
		"data = \"a\nb\"":                    "line 1, column",
		"data = '''a\nb":                     "unexpected EOF",
		"keep = 1\nseed = -1":                "line 2, column 1: seed is -1, want an integer that is not negative",
		"keep = 2.0":                         "keep is 2.0, want an integer",
		"keep = \"2\"":                       `keep is "2", want an integer`,
		"seed = \"2\"":                       `seed is "2", want an integer`,
		"seed = 9223372036854775808":         "out of range",
		"keep = 2024-01-01":                  "keep: is a date or a time",
		"lr_max = nan":                       `lr_max: is NaN, want a number`,
		"grad_clip_norm = inf":               `grad_clip_norm: is +Inf, want a number; no clipping is "none"`,
		"betas = [0.9]":                      "betas is [0.9], want two numbers",
		"betas = [[[1]]]":                    "line 1, column 11: lists in lists",
		"tied = 1":                           "tied is 1, want true or false",
		"run_name = 3":                       "run_name is 3, want a string",
		"[model]\nlayers = 3":                "line 1, column 1: a configuration has no tables",
		"model.layers = 3":                   "line 1, column 1: a configuration has no tables",
		"seed = 1\ncustom = {a = 1}":         "line 2, column 10: a configuration has no tables",
		"custom = '[1]'":                     "custom is \"[1]\", want a JSON object",
		"layers = 0":                         "layers is 0, want 1 to",
		"preset = 'tny'":                     `line 1, column 1: train: no preset "tny"; there are tiny`,
		"preset = 3":                         "preset is 3, want a string",
		"\x00":                               "NULL bytes",
		"data = \"\xff\"":                    "invalid UTF-8",
		"# \n\n#":                            "",
		strings.Repeat("#", 300<<10):         "has more than 262144 bytes",
		"<!DOCTYPE html>\n<html></html>":     "is a web page",
		strings.Repeat("a.", 100000) + "=1":  "a configuration has no tables",
		"a=" + strings.Repeat("{a=", 50000):  "a configuration has no tables",
		"a=" + strings.Repeat("[", 200000):   "lists in lists",
		"a='''" + strings.Repeat("[", 99999): "unexpected EOF",
	} {
		path := tomlFile(t, text)
		start := time.Now()
		c, err := ReadConfig(path)
		if want == "" {
			if err != nil || c != DefaultConfig() {
				t.Errorf("%.40q: %v", text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || c != (Config{}) {
			t.Errorf("%.40q: got %v, want %q and the file's name", text, err, want)
		}
		if took := time.Since(start); took > 10*time.Second { // the square of the longest would take minutes
			t.Errorf("%.40q: %v", text, took)
		}
	}
}

func TestTOMLValues(t *testing.T) {
	c, err := Configure("", tomlFile(t, `
# A comment = with [brackets] and "quotes.
preset = "shakespeare-char" # the base
'layers' = 0x6
"width" = 1_28 # twice 64
lr_max = 1e-3
betas = [0.9, # first
  0.99, # second
]
data = """
a # "b"
\u00e9"""
run_name = 'c:#d'
grad_clip_norm = "none"
seed = "18446744073709551615"
custom = '{"b": 1.0, "a": [2]}'
total_steps = 1000
`), []string{"heads=4"})
	want := shakespeareChar()
	want.Layers, want.Width, want.LRMax, want.Betas, want.Data = 6, 128, 1e-3, Betas{0.9, 0.99}, "a # \"b\"\né"
	want.RunName, want.Seed, want.Custom, want.TotalSteps, want.WarmupIters = "c:#d", 1<<64-1, `{"b":1.0,"a":[2]}`, 1000, 50
	c.Override("grad_clip_norm=none")
	want.Override("grad_clip_norm=none")
	if err != nil || c != want {
		t.Errorf("%v\n%+v, want\n%+v", err, c, want)
	}
}

// Presets stand below files, and files below assignments.
func TestComposeOrder(t *testing.T) {
	own := tomlFile(t, "preset = 'shakespeare-char'\nwidth = 256\nlr_max = 1e-2\n")
	for _, c := range []struct {
		preset, file, assignments string
		layers, width             int
		origins                   string // of layers, width, lr_max, warmup_iters
	}{
		{"", "", "", 3, 96, "preset tiny, preset tiny, preset tiny, preset tiny"},
		{"", own, "", 4, 256, "preset shakespeare-char, file FILE, file FILE, preset shakespeare-char"},
		{"tiny", own, "", 3, 256, "preset tiny, file FILE, file FILE, preset tiny"},
		{"tiny", own, "width=512 total_steps=1400", 3, 512, "preset tiny, flag, file FILE, its share of total_steps"},
		{"", own, "optimizer=muon lr_max=1", 4, 256, "preset shakespeare-char, file FILE, flag, preset shakespeare-char"},
		{"tiny", "", "optimizer=sgd", 3, 96, "preset tiny, preset tiny, what suits optimizer sgd, preset tiny"},
		{"", tomlFile(t, ""+"# nothing\n"), "", 4, 512, "default, default, default, default"},
		{"", "", "from=hf/testdata/gpt2", 2, 32, "the model of from, the model of from, preset finetune, preset finetune"},
		{"", tomlFile(t, "from = 'hf/testdata/gpt2'\nlayers = 2"), "", 2, 32, "file FILE, the model of from, preset finetune, preset finetune"},
	} {
		got, err := Compose(c.preset, c.file, strings.Fields(c.assignments))
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		o := got.Origins
		origins := strings.Join([]string{o["layers"], o["width"], o["lr_max"], o["warmup_iters"]}, ", ")
		if got.Layers != c.layers || got.Width != c.width || origins != strings.ReplaceAll(c.origins, "FILE", c.file) {
			t.Errorf("%+v: %d layers of width %d; %s", c, got.Layers, got.Width, origins)
		}
	}
}

// withInput runs f with a text on the standard input.
func withInput(t *testing.T, text string, f func()) {
	t.Helper()
	file, err := os.Open(tomlFile(t, text))
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = file
	defer func() { os.Stdin = before; file.Close() }()
	f()
}

// What -print-config writes is, on the standard input, the same configuration to the bit,
// whatever it was put together from.
func TestPrintedConfigIsTheSame(t *testing.T) {
	json1 := func(c Config) string {
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var odd []string
	for _, c := range fieldCases {
		if value := strings.Trim(c.other, `"`); value != "" && c.name != "from" && c.name != "custom" {
			odd = append(odd, c.name+"="+value)
		}
	}
	run := t.TempDir()
	cases := [][3]string{
		{"", "", ""}, {"", "", strings.Join(odd, "\n")},
		{"tiny", "", "total_steps=1400"}, {"tiny", "", "optimizer=muon\nschedule=wsd\ndecay_iters=7"}, {"", "", "optimizer=lion\ntotal_steps=6"},
		{"tiny", "", "grad_clip_norm=none\nbetas=0.1,1e-300\nseed=18446744073709551615\nlr_min=-0\neps=1e-30\nweight_decay=123456789012345680000"},
		{"tiny", "", "data=a \"b\"\x7f\\n\n" + "run_name=é#'\u2028" + "\ndevice= x\t"},
		{"tiny", "", `custom={"b": [1.50, "é"], "a": 1e400}`},
		{"", tomlFile(t, "preset = 'gpt2-124m'\ntotal_steps = 60000\nkv_heads = 4"), "layers=6"},
		{"", "", "from=hf/testdata/gpt2"}, {"", "", "from=hf/testdata/gpt2\ncontext_len=8\ntokenizer=bytes\ntotal_steps=50"},
		{"", "", "from=hf/testdata/llama\nmax_context=4096\ncontext_len=2048\ntokenizer=gpt2"}, {"tiny", "", "from=hf/testdata/llama\nlayers=2\nrecompute=true\ndropout=0.5"},
		{"", "", "from=torch/testdata/torch_adamw.pt"},
		{"", configFile(t, json1(smolLM2())), "ckpt_dir=" + run},
	}
	for _, name := range Presets()[:4] {
		cases = append(cases, [3]string{name, "", ""})
	}
	for _, c := range cases {
		var assignments []string
		if c[2] != "" {
			assignments = strings.Split(c[2], "\n")
		}
		first, err := Compose(c[0], c[1], assignments)
		if err != nil {
			t.Errorf("%q: %v", c, err)
			continue
		}
		text, err := first.TOML()
		if err != nil {
			t.Errorf("%q: %v", c, err)
			continue
		}
		withInput(t, text, func() {
			again, err := Compose("", "-", nil)
			if err != nil || again.Config != first.Config || json1(again.Config) != json1(first.Config) {
				t.Errorf("%q: %v\n%s\nis read as %+v", c, err, text, again)
				return
			}
			twice, err := again.TOML()
			if got, want := strings.Count(twice, "\n"), strings.Count(text, "\n"); err != nil || got != want {
				t.Errorf("%q: %d lines, printed again %d", c, want, got)
			}
		})
	}
	named := filepath.Join(t.TempDir(), "a\nwidth = 3\x01.toml")
	if err := os.WriteFile(named, []byte("width = 128"), 0o666); err != nil {
		t.Log(err) // a system without such names
	} else if c, err := Compose("", named, nil); err != nil {
		t.Error(err)
	} else if text, err := c.TOML(); err != nil || strings.Contains(text, "\nwidth = 3") || strings.Contains(text, "\x01") {
		t.Errorf("a file with a line end in its name: %v", err)
	}
	if _, err := (&Composed{Config: Config{RunName: "\xff"}}).TOML(); err == nil || !strings.Contains(err.Error(), `run_name is "\xff", which is no UTF-8`) {
		t.Errorf("a name that is no text: %v", err)
	}
}

func TestPrintedConfigKeepsComments(t *testing.T) {
	const given = "# The second try.\n# It is wider.\npreset = 'tiny' # small\n\nwidth = 128 # was 96\n#: written before\nbetas = [0.9, # slow\n 0.99]\n# The end.\n"
	c, err := Compose("", tomlFile(t, given), []string{"width=256", "total_steps=70"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n# The second try.\n# It is wider.\n# small\n", "\n# was 96\nwidth = 256  #: flag\n", "\n# slow\nbetas = [0.9, 0.99]  #: file " + c.file.path + "\n",
		"\nwarmup_iters = 5  #: its share of total_steps\n", "\nlayers = 3  #: preset tiny\n", "#: ---- how long, and how often what ----\n",
		"#: largest norm of the gradient; none: no clipping; 0 makes every gradient zero\ngrad_clip_norm = 1.0  #: preset tiny\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if !strings.HasSuffix(text, "\n# The end.\n") || strings.Contains(text, "written before") {
		t.Errorf("it is\n%s", text)
	}
	for i, line := range strings.Split(text, "\n") {
		if len(line) > commentWidth && strings.HasPrefix(line, written) {
			t.Errorf("line %d has %d characters", i+1, len(line))
		}
	}
	for _, f := range fields {
		if n := strings.Count(text, "\n"+f.name+" = "); n != 1 {
			t.Errorf("%s is there %d times", f.name, n)
		}
	}
	if !bytes.Equal(c.File, []byte(given)) {
		t.Errorf("the file is %q", c.File)
	}
}

func TestConfigFromStandardInput(t *testing.T) {
	for text, want := range map[string]string{
		"width = 128\n":                  "<nil>",
		" \n{\"width\": 128}":            "<nil>",
		"\xef\xbb\xbfwidth = 128":        "<nil>",
		"":                               "the standard input is empty",
		"widht = 128":                    `train: config from the standard input: line 1, column 1: unknown field "widht", but there is width`,
		strings.Repeat(" ", 300<<10):     "has more than",
		"{\"width\": 128, \"width\": 1}": "width is set twice",
	} {
		withInput(t, text, func() {
			c, err := Configure("", "-", nil)
			if got := fmt.Sprint(err); !strings.Contains(got, want) || err == nil && c.Width != 128 {
				t.Errorf("%.40q: width %d, %v; want %s", text, c.Width, err, want)
			}
		})
	}
}
