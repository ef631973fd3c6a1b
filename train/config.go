package train

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/lemnos-ml/lemnos/nn"
)

// Config is everything that a training run depends on: section 7 of
// docs/specification.md, plus the model and the data. The same names are the keys of a
// file, the flags of command train and the fields of error messages.
//
// Fields marked resume:"model" or resume:"same" define the model and the stream of
// batches; a checkpoint is refused by a run in which one of them differs. The others,
// hyper-parameters included, may change from one start to the next: the new
// value holds from the checkpoint's step on. Those marked "model" are decided by the
// model that a run starts from, see [Config.ConfigureFrom].
//
// To add a field: declare it with its tags, give it a default in DefaultConfig
// and a limit in Validate; one of the transformer's structure in package nn. File,
// flags, comparison and tests follow.
type Config struct {
	Model  string `json:"model" resume:"model" usage:"architecture: transformer, or bigram, which has vocab alone"`
	Custom Custom `json:"custom" resume:"same" usage:"structure of a custom model, a JSON object: for programs with one"`

	// TransformerConfig is the structure of a transformer; Vocab is that of all models.
	// Context may be 0, see [Config.Transformer].
	nn.TransformerConfig

	From        string  `json:"from" resume:"free" usage:"model to start from, its structure included: Hugging Face folder, run's folder or checkpoint; or a file of torch.save (.pt), for a model of this structure"`
	Data        string  `json:"data" resume:"free" usage:"text or token file (.bin, .npy); -: a text from the standard input; empty: the Go standard library's source"`
	Tokenizer   string  `json:"tokenizer" resume:"free" usage:"what a token is: bytes, gpt2 (vocab 50257), a tokenizer.json or its folder; empty: the model's, the token file's, or bytes where vocab is 256"`
	TokenWidth  int     `json:"token_width" resume:"free" usage:"bytes of a token in a .bin file: 2 or 4; 0: what its sidecar or header says, else 2 up to a vocab of 65536"`
	NewData     bool    `json:"new_data" resume:"free" usage:"go on with other data, another tokenizer or another from than the run began with"`
	ValFraction float64 `json:"val_fraction" resume:"same" usage:"part of the data, at its end, that is held out for evaluation; 0: none, the run does not evaluate, and samples and plots as often"`
	Seed        uint64  `json:"seed" resume:"same" usage:"seed of the batches and of the initial parameters"`
	Rank        uint32  `json:"rank" resume:"free" usage:"this process among those that train together, from 0 on; each draws batches of its own"`
	BatchSize   int     `json:"batch_size" resume:"same" usage:"sequences per batch"`
	ContextLen  int     `json:"context_len" resume:"same" usage:"tokens per sequence"`
	GradAccum   int     `json:"grad_accum" resume:"same" usage:"batches whose gradients are added up for one step"`

	TotalSteps  int64 `json:"total_steps" resume:"free" usage:"steps of the whole run"`
	LogEvery    int64 `json:"log_every" resume:"free" usage:"steps between lines of the log"`
	EvalEvery   int64 `json:"eval_every" resume:"free" usage:"steps between evaluations"`
	EvalWindows int   `json:"eval_windows" resume:"free" usage:"most windows of context_len tokens in an evaluation"`
	CkptEvery   int64 `json:"ckpt_every" resume:"free" usage:"steps between checkpoints"`

	Optimizer    string   `json:"optimizer" resume:"same" usage:"rule of the update: adamw, lion, sgd (with momentum), or muon for the matrices of hidden layers and adamw for the rest; where it is set and lr_max, lr_min, weight_decay or betas are not, these become what suits the rule"`
	AdamW        string   `json:"adamw" resume:"free" usage:"order of AdamW's update: document or torch"`
	MuonLR       float64  `json:"muon_lr" resume:"free" usage:"learning rate of muon after the warm-up; it rises and falls with that of the rest"`
	Schedule     string   `json:"schedule" resume:"free" usage:"learning rate after the warm-up: cosine, linear, wsd (stays, then falls linearly) or constant"`
	LRMax        float64  `json:"lr_max" resume:"free" usage:"learning rate after the warm-up"`
	LRMin        float64  `json:"lr_min" resume:"free" usage:"learning rate at the end of the schedule and after it"`
	Betas        Betas    `json:"betas" resume:"free" usage:"decay of the first moment, which is the momentum, and of the second"`
	Eps          float64  `json:"eps" resume:"free" usage:"AdamW's epsilon"`
	WeightDecay  float64  `json:"weight_decay" resume:"free" usage:"weight decay; decoupled but for sgd"`
	NoDecay      string   `json:"no_decay" resume:"free" usage:"what weight decay spares: none, vectors (norms, biases), or vectors+embeddings"`
	GradClipNorm ClipNorm `json:"grad_clip_norm" resume:"free" usage:"largest norm of the gradient; none: no clipping; 0 makes every gradient zero"`
	WarmupIters  int64    `json:"warmup_iters" resume:"free" usage:"steps of linear warm-up; where total_steps is set and this is not, it keeps its share of the steps"`
	CosineIters  int64    `json:"cosine_iters" resume:"free" usage:"step at which the learning rate, of whatever schedule, reaches lr_min; 0: total_steps"`
	DecayIters   int64    `json:"decay_iters" resume:"free" usage:"steps over which schedule wsd falls, before it reaches lr_min; 0: a fifth of them all"`

	Device         string `json:"device" resume:"free" usage:"auto, an index, or part of a device's name"`
	MixedPrecision bool   `json:"mixed_precision" resume:"same" usage:"16-bit activations, f32 master weights"`
	HalfType       string `json:"half_type" resume:"same" usage:"16-bit type of mixed precision: bf16, or f16 with loss scaling"`

	MatMulPrecision string `json:"matmul_precision" resume:"same" usage:"of products of f32 on matrix cores, where the device has some for bf16: highest (none), high (three products of bf16), or medium (one)"`

	CkptDir string `json:"ckpt_dir" resume:"free" usage:"folder of the runs"`
	RunName string `json:"run_name" resume:"free" usage:"folder of this run in ckpt_dir"`
	Keep    int    `json:"keep" resume:"free" usage:"newest checkpoints to keep"`

	TensorBoard bool `json:"tensorboard" resume:"free" usage:"write event files for TensorBoard too: curves, configuration and samples, and at each evaluation histograms of parameters and gradients, for which these are read off the device"`
}

// ClipNorm is the largest norm of a gradient. +Inf, which files and flags call
// "none", leaves gradients as they are; 0 makes every gradient zero, as in the
// specification, and not, as in some trainers, clipping void.
type ClipNorm float64

// Betas are AdamW's decay rates of the first and the second moment.
type Betas [2]float64

// DefaultConfig returns the defaults of docs/specification.md, and a small transformer with
// a vocabulary of bytes.
func DefaultConfig() Config {
	return Config{
		Model: "transformer",
		TransformerConfig: nn.TransformerConfig{
			Vocab:      256,
			Layers:     4,
			Heads:      16,
			Width:      512,
			FFN:        1344,
			Norm:       "rmsnorm",
			NormEps:    1e-5,
			Activation: "swiglu",
			Positions:  "rope",
			RopeTheta:  10000,
			Init:       "truncated_normal",
		},

		ValFraction: 0.1,
		Seed:        1,
		BatchSize:   32,
		ContextLen:  256,
		GradAccum:   1,

		TotalSteps:  10000,
		LogEvery:    50,
		EvalEvery:   500,
		EvalWindows: 256,
		CkptEvery:   1000,

		Optimizer:    "adamw",
		AdamW:        "document",
		MuonLR:       0.02,
		Schedule:     "cosine",
		LRMax:        3e-4,
		LRMin:        3e-5,
		Betas:        Betas{0.9, 0.95},
		Eps:          1e-8,
		WeightDecay:  0.1,
		NoDecay:      "none",
		GradClipNorm: 1,
		WarmupIters:  200,

		Device:         "auto",
		MixedPrecision: true,
		HalfType:       "bf16",

		MatMulPrecision: "highest",

		CkptDir: "./checkpoints",
		RunName: "cs336_lm_run",
		Keep:    3,
	}
}

// Validate returns an error that names the first impossible field and its value.
func (c Config) Validate() error {
	for _, check := range c.checkFields() {
		if check != nil {
			return check
		}
	}
	return c.checkTogether()
}

// checkFields returns the errors of each field by itself, in their order.
func (c Config) checkFields() []error {
	return []error{
		countable("context_len", c.ContextLen),
		c.checkModel(),
		c.checkTokenizer(),
		within("val_fraction", c.ValFraction, 0, 1),
		countable("batch_size", c.BatchSize),
		countable("grad_accum", c.GradAccum),
		atLeast("total_steps", c.TotalSteps, 1),
		atLeast("log_every", c.LogEvery, 1),
		atLeast("eval_every", c.EvalEvery, 1),
		countable("eval_windows", c.EvalWindows),
		atLeast("ckpt_every", c.CkptEvery, 1),
		oneOf("optimizer", c.Optimizer),
		oneOf("adamw", c.AdamW),
		within("muon_lr", c.MuonLR, 0, math.MaxFloat32),
		oneOf("schedule", c.Schedule),
		within("lr_max", c.LRMax, 0, math.MaxFloat32),
		within("lr_min", c.LRMin, 0, math.MaxFloat32),
		within("betas[0]", c.Betas[0], 0, 1),
		within("betas[1]", c.Betas[1], 0, 1),
		within("eps", c.Eps, 0, math.MaxFloat32),
		within("weight_decay", c.WeightDecay, 0, math.MaxFloat32),
		oneOf("no_decay", c.NoDecay),
		atLeast("warmup_iters", c.WarmupIters, 0),
		atLeast("cosine_iters", c.CosineIters, 0),
		atLeast("decay_iters", c.DecayIters, 0),
		oneOf("half_type", c.HalfType),
		oneOf("matmul_precision", c.MatMulPrecision),
		countable("keep", c.Keep),
	}
}

// checkTogether returns an error where fields do not go together, or is left to say
// of one what the checks of all kinds do not.
func (c Config) checkTogether() error {
	switch {
	case c.TokenWidth != 0 && c.TokenWidth != 2 && c.TokenWidth != 4:
		return fmt.Errorf("train: token_width is %d, want 0, 2 or 4", c.TokenWidth)
	case c.BatchSize > math.MaxInt32/c.ContextLen:
		return fmt.Errorf("train: batch_size is %d and context_len %d: more than %d tokens in a batch", c.BatchSize, c.ContextLen, math.MaxInt32)
	case c.TotalSteps > math.MaxInt64/c.StepTokens():
		return fmt.Errorf("train: total_steps is %d, of %d tokens each: more than %d tokens in all", c.TotalSteps, c.StepTokens(), math.MaxInt64)
	case c.Context != 0 && c.Context < c.ContextLen:
		return fmt.Errorf("train: context_len is %d, more than max_context, which is %d", c.ContextLen, c.Context)
	case !(c.GradClipNorm >= 0):
		return fmt.Errorf("train: grad_clip_norm is %v, want a number of at least 0, or none for no clipping", float64(c.GradClipNorm))
	case c.LRMin > c.LRMax:
		return fmt.Errorf("train: lr_min is %v, above lr_max, which is %v", c.LRMin, c.LRMax)
	case c.CosineIters == 0 && c.TotalSteps < c.WarmupIters:
		return fmt.Errorf("train: warmup_iters is %d, more than total_steps, which is %d", c.WarmupIters, c.TotalSteps)
	case c.CosineIters != 0 && c.CosineIters < c.WarmupIters:
		return fmt.Errorf("train: cosine_iters is %d, below warmup_iters, which is %d", c.CosineIters, c.WarmupIters)
	case c.Optimizer == "muon" && c.LRMax == 0:
		return fmt.Errorf("train: lr_max is 0, and muon_lr falls with it: want a positive number")
	case c.DecayIters > c.lastIter()-c.WarmupIters:
		return fmt.Errorf("train: decay_iters is %d, more than the %d steps after the warm-up", c.DecayIters, c.lastIter()-c.WarmupIters)
	case strings.TrimSpace(c.Device) == "":
		return fmt.Errorf("train: device is %q, want auto, an index, or part of a name", c.Device)
	case c.CkptDir == "":
		return fmt.Errorf(`train: ckpt_dir is "", want a folder`)
	case c.RunName == "" || c.RunName == "." || c.RunName == ".." || filepath.Base(c.RunName) != c.RunName || strings.ContainsAny(c.RunName, `/\`) || strings.ContainsFunc(c.RunName, unicode.IsControl):
		return fmt.Errorf("train: run_name is %q, want the name of a folder", c.RunName)
	}
	return nil
}

// StepTokens returns how many tokens a step trains on.
func (c Config) StepTokens() int64 {
	return int64(c.BatchSize) * int64(c.ContextLen) * int64(c.GradAccum)
}

// Warnings lists what is legal and hardly meant; Run logs them.
func (c Config) Warnings() []string {
	var all []string
	if c.GradClipNorm == 0 {
		all = append(all, "grad_clip_norm is 0, so every gradient becomes zero and nothing is learned: none turns clipping off")
	}
	if c.LRMax == 0 {
		all = append(all, "lr_max is 0, so nothing is learned")
	}
	if c.CosineIters != 0 && c.CosineIters < c.TotalSteps {
		all = append(all, fmt.Sprintf("cosine_iters is %d and total_steps %d: from step %[1]d on the learning rate is lr_min; 0 lets it follow total_steps", c.CosineIters, c.TotalSteps))
	}
	return all
}

// otherFrom is what a configuration of another model may come from.
func (c Config) otherFrom(before Config) string {
	switch {
	case c.From == "" && before.From != "":
		return fmt.Sprintf("; the run began with from %q, which gave it its structure: name it again", before.From)
	case c.From != "" && before.From == "":
		return fmt.Sprintf("; the run began without from, which is %q now: leave it out, or choose another run_name", c.From)
	}
	return ""
}

// checkModel returns the error of a model that there is not, or can't be.
func (c Config) checkModel() error {
	if err := oneOf("model", c.Model); err != nil {
		return fmt.Errorf("%w; for a model of your own leave it: what a run trains is what it writes", err)
	}
	structure := c.Transformer()
	if c.Model == "bigram" {
		structure.HeadSize = 4 // it has no heads that width could not be divided into
	}
	if err := structure.Validate(); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	return nil
}

// Choices lists the values of the fields that are one of a few words, by the names of
// the fields.
func Choices() map[string][]string {
	all := nn.Choices()
	maps.Copy(all, map[string][]string{
		"model":            {"transformer", "bigram"},
		"optimizer":        ruleNames(),
		"adamw":            {"document", "torch"},
		"schedule":         scheduleNames(),
		"no_decay":         {"none", "vectors", "vectors+embeddings"},
		"half_type":        {"bf16", "f16"},
		"matmul_precision": {"highest", "high", "medium"},
	})
	return all
}

func oneOf(field, v string) error {
	allowed := Choices()[field]
	if slices.Contains(allowed, v) {
		return nil
	}
	return fmt.Errorf("train: %s is %q, want %s", field, v, strings.Join(allowed, " or "))
}

// within accepts low ≤ v < high, so never NaN, and no infinity.
func within(field string, v, low, high float64) error {
	if !(v >= low && v < high) {
		return fmt.Errorf("train: %s is %v, want a number in [%v, %v)", field, v, low, high)
	}
	return nil
}

// countable accepts what a kernel can count: 1 to 2³¹−1.
func countable(field string, v int) error {
	if v < 1 || v > math.MaxInt32 {
		return fmt.Errorf("train: %s is %d, want 1 to %d", field, v, math.MaxInt32)
	}
	return nil
}

func atLeast(field string, v, low int64) error {
	if v < low {
		return fmt.Errorf("train: %s is %d, want at least %d", field, v, low)
	}
	return nil
}
