package train

import (
	"math"
	"strings"
	"testing"
)

// The learning rate falls over all steps that there are, unless it is told how far.
func TestScheduleFollowsTotalSteps(t *testing.T) {
	for _, name := range Presets() {
		c, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		c.TotalSteps *= 2
		s := c.schedule()
		if half, end := s.At(c.TotalSteps/2), s.At(c.TotalSteps); end != c.LRMin || half < (c.LRMin+c.LRMax)/2 {
			t.Errorf("%s with twice its steps: the learning rate is %v after half of them and %v at the end, lr_min is %v", name, half, end, c.LRMin)
		}
	}
	long, steps := DefaultConfig(), int64(30000)
	long.TotalSteps = steps
	long.CosineIters = 10000
	if s := long.schedule(); s.At(10001) != long.LRMin {
		t.Errorf("cosine_iters of 10000 is not heeded: %v", s)
	}
	if w := long.Warnings(); len(w) != 1 || !strings.Contains(w[0], "from step 10000 on") {
		t.Errorf("warnings %q", w)
	}
}

// A run of another length warms up for the same share of it, unless told how long.
func TestWarmupFollowsTotalSteps(t *testing.T) {
	file := configFile(t, `{"total_steps": 100, "warmup_iters": 30}`)
	for _, c := range []struct {
		preset, file string
		assignments  string
		warmup       int64
	}{
		{"", "", "", 50},
		{"", "", "total_steps=1400", 100},
		{"", "", "total_steps=6", 0},
		{"", "", "total_steps=6 warmup_iters=2", 2},
		{"", "", "warmup_iters=2 total_steps=6", 2},
		{"", "", "total_steps=7 total_steps=1400", 100},
		{"gpt2-124m", "", "total_steps=60000", 200},
		{"", file, "", 30},
		{"", file, "total_steps=60", 30}, // what is set is set, in a file too
		{"", "", "cosine_iters=350", 50},
		{"", "", "cosine_iters=40 total_steps=1000", 40},
		{"", configFile(t, `{"warmup_iters": 3, "cosine_iters": 5, "total_steps": 20}`), "total_steps=40", 3},
		{"", configFile(t, `{"total_steps": 100}`), "", 2},
	} {
		got, err := Configure(c.preset, c.file, strings.Fields(c.assignments))
		if err != nil || got.WarmupIters != c.warmup {
			t.Errorf("%+v: warmup_iters is %d, %v", c, got.WarmupIters, err)
		}
	}
	if _, err := Configure("", "", []string{"total_steps=4", "cosine_iters=-5"}); err == nil || !strings.Contains(err.Error(), "cosine_iters is -5, want at least 0") {
		t.Errorf("a schedule without an end: %v", err)
	}
	short := DefaultConfig()
	short.TotalSteps = 100
	if err := short.Validate(); err == nil || !strings.Contains(err.Error(), "warmup_iters is 200, more than total_steps, which is 100") {
		t.Errorf("a warm-up longer than the run: %v", err)
	}
}

func TestClipNorm(t *testing.T) {
	c := DefaultConfig()
	if w := c.Warnings(); len(w) != 0 {
		t.Errorf("the defaults warn: %q", w)
	}
	still := c
	still.LRMax, still.LRMin = 0, 0
	if w := still.Warnings(); len(w) != 1 || !strings.Contains(w[0], "lr_max is 0, so nothing is learned") {
		t.Errorf("warnings %q, want that a rate of 0 is meant", w)
	}
	c.GradClipNorm = 0
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "grad_clip_norm is 0") {
		t.Errorf("warnings %q, want that gradients of norm 0 are meant", w)
	}
	if err := c.Override("grad_clip_norm=none"); err != nil || !math.IsInf(float64(c.GradClipNorm), 1) || len(c.Warnings()) != 0 {
		t.Errorf("none is %v, %v", c.GradClipNorm, err)
	}
	_, err := ReadConfig(configFile(t, `{"grad_clip_norm": null}`))
	if err == nil || !strings.Contains(err.Error(), `want a number or "none"`) {
		t.Errorf("null: %v", err)
	}
}

// Fine-tuning starts from values of its own, whichever way from is given; what is
// set wins over them.
func TestConfigureForFineTuning(t *testing.T) {
	const from = "from=hf/testdata/gpt2"
	own := finetune()
	for _, c := range []struct {
		preset, file string
		assignments  string
		lr           float64
		steps        int64
	}{
		{"", "", from, own.LRMax, own.TotalSteps},
		{"", "", from + " lr_max=1e-4 total_steps=100", 1e-4, 100},
		{"finetune", "", from, own.LRMax, own.TotalSteps},
		{"tiny", "", from, 5e-3, 700}, // said so
		{"", configFile(t, `{"total_steps": 70}`), from, own.LRMax, 70},
		{"", configFile(t, `{"from": "hf/testdata/gpt2", "lr_max": 2e-5}`), "", 2e-5, own.TotalSteps},
		{"", configFile(t, `{"from": "nowhere"}`), from, own.LRMax, own.TotalSteps},
	} {
		got, err := Configure(c.preset, c.file, strings.Fields(c.assignments))
		if err != nil || got.LRMax != c.lr || got.TotalSteps != c.steps || got.Width != 32 || got.Vocab != 50 {
			t.Errorf("%+v: %v, %+v", c, err, got)
		}
	}
	if own.LRMax < 1e-5 || own.LRMax > 5e-5 {
		t.Errorf("fine-tuning starts with the learning rate %v", own.LRMax)
	}
	if _, err := Configure("finetune", "", nil); err == nil || !strings.Contains(err.Error(), "name it with from") {
		t.Errorf("fine-tuning nothing: %v", err)
	}
	if _, err := Configure("", configFile(t, `{"preset": "finetune"}`), nil); err == nil || !strings.Contains(err.Error(), "name it with from") {
		t.Errorf("fine-tuning nothing: %v", err)
	}
}

// A run that is made longer has another learning rate at once, and is told so.
func TestLongerRunSaysThatTheRateChanges(t *testing.T) {
	short, err := Preset("tiny")
	if err != nil {
		t.Fatal(err)
	}
	long := short
	long.TotalSteps = 1400
	if got := short.scheduleChange(short, 700); got != "" {
		t.Errorf("the same schedule: %q", got)
	}
	got := long.scheduleChange(short, 700)
	for _, part := range []string{"goes on at 0.002881, not at 0.0005", "total_steps is 1400 and was 700"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q does not say %q", got, part)
		}
	}
	long.CosineIters = 700
	if got := long.scheduleChange(short, 700); got != "" {
		t.Errorf("with the end of the schedule where it was: %q", got)
	}
}

// A flag that is left out of the command that goes on must not pass unnoticed.
func TestChangedStepIsSaid(t *testing.T) {
	was, err := Preset("tiny")
	if err != nil {
		t.Fatal(err)
	}
	is := was
	is.Seed, is.LogEvery, is.LRMax = 9, 3, 1 // others tell of the first and the last
	if got := is.stepChange(was); got != "" {
		t.Errorf("the same step: %q", got)
	}
	is.Betas, is.Dropout, is.GradClipNorm = Betas{0.5, 0.6}, 0.25, ClipNorm(math.Inf(1))
	const want = "betas is [0.5 0.6] and was [0.9 0.95], grad_clip_norm is none and was 1, dropout is 0.25 and was 0; the new values hold from here on"
	if got := is.stepChange(was); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}
