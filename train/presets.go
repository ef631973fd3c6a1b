package train

import (
	"fmt"
	"strings"
)

// presets are complete configurations: of models to train from the start, smallest
// first, and of training one that is there.
var presets = []struct {
	name   string
	config func() Config
}{
	{"tiny", tiny},
	{"shakespeare-char", shakespeareChar},
	{"gpt2-124m", gpt2},
	{"smollm2-135m", smolLM2},
	{"finetune", finetune},
}

// Presets returns the names that Preset knows, in the order there.
func Presets() []string {
	names := make([]string, len(presets))
	for i, p := range presets {
		names[i] = p.name
	}
	return names
}

// Preset returns a configuration by name:
//
//	tiny              0.4 million parameters, bytes; minutes on a processor
//	shakespeare-char  nanoGPT's recipe for a processor; with data set to tiny Shakespeare
//	gpt2-124m         GPT-2 small; with data set to its tokens
//	smollm2-135m      SmolLM2-135M, of the Llama kind; with data set to its tokens
//	finetune          a pretrained model on data of one's own; with from set to the model
func Preset(name string) (Config, error) {
	for _, p := range presets {
		if p.name == name {
			return p.config(), nil
		}
	}
	return Config{}, fmt.Errorf("train: no preset %q; there are %s", name, strings.Join(Presets(), ", "))
}

// tiny is for two cores of a processor, which take a quarter of a second a step:
// few enough parameters that half a million tokens teach them something.
func tiny() Config {
	c := DefaultConfig()
	c.Layers, c.Heads, c.Width, c.FFN, c.ContextLen = 3, 4, 96, 256, 64
	c.BatchSize, c.TotalSteps = 12, 700
	c.LRMax, c.LRMin, c.WarmupIters = 5e-3, 5e-4, 50
	c.NoDecay = "vectors"
	c.LogEvery, c.EvalEvery, c.CkptEvery, c.EvalWindows = 20, 100, 100, 128
	c.MixedPrecision = false // 16-bit storage saves software devices nothing
	c.RunName = "tiny"
	return c
}

// shakespeareChar is nanoGPT's configuration for tiny Shakespeare by characters
// on a processor, with twice its learning rate. The text is ASCII, so its bytes
// are its characters.
func shakespeareChar() Config {
	c := gpt2Like()
	c.Layers, c.Heads, c.Width, c.FFN, c.ContextLen = 4, 4, 128, 512, 64
	c.Activation = "gelu"
	c.BatchSize, c.TotalSteps = 12, 2000
	c.LRMax, c.LRMin, c.WarmupIters = 2e-3, 2e-4, 100
	c.Betas = Betas{0.9, 0.99}
	c.LogEvery, c.EvalEvery, c.CkptEvery, c.EvalWindows = 50, 500, 500, 1800 // all there are
	c.MixedPrecision = false
	c.RunName = "shakespeare-char"
	return c
}

// gpt2 is GPT-2 small with nanoGPT's recipe for half a million tokens a step.
func gpt2() Config {
	c := gpt2Like()
	c.Vocab, c.Tokenizer, c.Bias = 50257, "gpt2", true
	c.Layers, c.Heads, c.Width, c.FFN, c.ContextLen = 12, 12, 768, 3072, 1024
	c.BatchSize, c.GradAccum, c.TotalSteps = 12, 40, 600000
	c.LRMax, c.LRMin, c.WarmupIters = 6e-4, 6e-5, 2000
	c.LogEvery, c.EvalEvery, c.CkptEvery = 10, 1000, 1000
	c.RunName = "gpt2-124m"
	return c
}

// gpt2Like is what all of GPT-2's kind have in common.
func gpt2Like() Config {
	c := DefaultConfig()
	c.Norm, c.Activation, c.Positions, c.Tied, c.Init = "layernorm", "gelu_tanh", "learned", true, "gpt2"
	c.AdamW, c.NoDecay = "torch", "vectors"
	return c
}

// smolLM2 has the structure of the published config.json.
func smolLM2() Config {
	c := DefaultConfig()
	c.Vocab, c.Tied = 49152, true
	c.Layers, c.Heads, c.KVHeads, c.Width, c.FFN, c.ContextLen = 30, 9, 3, 576, 1536, 2048
	c.Positions, c.RopeTheta = "rope_half", 1e5
	c.AdamW, c.NoDecay = "torch", "vectors"
	c.BatchSize, c.GradAccum, c.TotalSteps = 8, 32, 100000
	c.LRMax, c.LRMin, c.WarmupIters = 3e-3, 3e-4, 2000
	c.WeightDecay = 0.01
	c.LogEvery, c.EvalEvery, c.CkptEvery = 10, 1000, 1000
	c.RunName = "smollm2-135m"
	return c
}

// finetune changes a trained model gently: a learning rate of the size that GPT-2
// and Llama kinds are usually fine-tuned with, a fraction of the one that they
// were trained with, a short warm-up, and decay of matrices alone. Tables keep the
// rows that the data never asks for, bit for bit: the positions after context_len
// among them. Structure and tokenizer are those of the model.
func finetune() Config {
	c := DefaultConfig()
	c.AdamW, c.NoDecay = "torch", "vectors+embeddings"
	c.BatchSize, c.ContextLen, c.TotalSteps = 8, 512, 500
	c.LRMax, c.LRMin, c.WarmupIters = 3e-5, 3e-6, 15
	c.Betas, c.WeightDecay = Betas{0.9, 0.999}, 0.01
	c.LogEvery, c.EvalEvery, c.CkptEvery, c.EvalWindows = 10, 50, 100, 64
	c.RunName = "finetune"
	return c
}
