// Package samplecmd is the command sample: it continues a text with a trained model.
package samplecmd

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/tools/internal/devicescmd"
	"github.com/lemnos-ml/lemnos/tools/internal/progress"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
	"github.com/lemnos-ml/lemnos/vk"
)

// Command continues a text with a trained model.
var Command = &command.Command{
	Name:  "sample",
	Usage: "[flags] checkpoint, run's folder or Hugging Face folder",
	Short: "Continue a text with a trained model",
	Long: `The model is a checkpoint, the newest one of a run's folder, or a Hugging Face folder
of GPT-2's or Llama's kind. The text goes to the standard output as it comes, the
speed to the standard error. Ctrl-C ends it.
`,
	Examples: []string{
		`lemnos sample -prompt "func main() {" checkpoints/tiny`,
		`lemnos sample -temperature 0 -n 100 -prompt "Once" ./SmolLM2-135M   # the likeliest text`,
	},
	Flags: func() *flag.FlagSet { return flags(new(options)) },
	Values: map[string]command.Values{
		"tokenizer": command.OrFiles("bytes", "gpt2", "ids"),
		"dtype":     command.Words("f32", "f16", "bf16"),
		"device":    devicescmd.Names,
	},
	Operands: command.Runs,
	Run:      command.Interruptible(run),
}

// options are the flags.
type options struct {
	path      string
	prompt    string
	tokens    int
	sampler   nn.Sampler
	tokenizer string
	context   int
	dtype     string
	device    string
}

func flags(o *options) *flag.FlagSet {
	fs := command.Flags("sample")
	fs.StringVar(&o.prompt, "prompt", "", "text to continue")
	fs.IntVar(&o.tokens, "n", 500, "tokens to generate")
	fs.Float64Var(&o.sampler.Temperature, "temperature", 0.8, "below 1 more likely tokens, above 1 more surprising ones; 0 always the likeliest")
	fs.IntVar(&o.sampler.TopK, "top_k", 0, "choose from that many of the likeliest tokens; 0: all")
	fs.Float64Var(&o.sampler.TopP, "top_p", 0.95, "choose from the likeliest tokens that have this probability together; 0 or 1: all")
	fs.Uint64Var(&o.sampler.Seed, "seed", 1, "seed of the choices")
	fs.StringVar(&o.tokenizer, "tokenizer", "", "bytes, gpt2, the path of a tokenizer.json or of its folder, or ids: prompt and text are ids then; empty: the model's own")
	fs.IntVar(&o.context, "context", 2048, "most tokens to look back at, as far as the model goes; it is the size of the cache")
	fs.StringVar(&o.dtype, "dtype", "f32", "how parameters and activations are stored: f32, f16 or bf16")
	fs.StringVar(&o.device, "device", "", "index, or part of a device's name; empty: the best")
	return fs
}

func parse(p *command.Process) (o options, err error) {
	fs := flags(&o)
	if err := p.ParseOperands(fs, 1, 1, "a checkpoint, the folder of a run or a Hugging Face folder"); err != nil {
		return o, err
	}
	o.path = fs.Arg(0)
	if o.tokens < 1 || o.context < 1 {
		return o, command.Mistaken(fmt.Errorf("sample: -n is %d and -context %d, want at least 1", o.tokens, o.context))
	}
	if o.tokenizer != "" && o.tokenizer != "ids" {
		if err := tokenizer.CheckName(o.tokenizer); err != nil {
			return o, command.Mistaken(fmt.Errorf("sample: %w", err))
		}
	}
	return o, command.Mistaken(o.sampler.Validate())
}

// openTokenizer opens the tokenizer of the flag, or else the model's own; for ids
// there is none.
func openTokenizer(o options) (*tokenizer.Tokenizer, error) {
	switch o.tokenizer {
	case "ids":
		return nil, nil
	case "":
		return train.OpenTokenizer(o.path)
	}
	return tokenizer.Open(o.tokenizer)
}

func run(ctx context.Context, p *command.Process) error {
	o, err := parse(p)
	if err != nil {
		return err
	}
	dt, ok := map[string]ops.DType{"f32": ops.F32, "f16": ops.F16, "bf16": ops.BF16}[o.dtype]
	if !ok {
		return command.Mistaken(fmt.Errorf("sample: -dtype is %q, want f32, f16 or bf16", o.dtype))
	}
	tok, err := openTokenizer(o)
	if err != nil {
		return err
	}
	dev, err := vk.Open(&vk.Options{Device: o.device})
	if err != nil {
		return err
	}
	defer dev.Close()
	shown := progress.New(p.Stderr)
	defer shown.Close()
	shown.Phase(train.Phase{Name: "loading model"})
	model, _, err := train.OpenModel(ctx, dev, o.path, dt)
	if err != nil {
		return err
	}
	defer model.Params().Release()
	decoder, err := model.NewDecoder(min(o.context, model.Config().Context))
	if err != nil {
		return err
	}
	defer decoder.Close()
	shown.Close() // the text begins

	out := progress.Printable(p.Stdout)
	if _, err := io.WriteString(out, o.prompt); err != nil {
		return err
	}
	start := time.Now()
	n, err := train.Generate(ctx, decoder, &o.sampler, tok, o.prompt, o.tokens, out)
	fmt.Fprintln(out)
	if s := time.Since(start).Seconds(); n > 0 {
		fmt.Fprintf(p.Stderr, "%d tokens in %.2f s, %.1f tokens/s on %s\n", n, s, float64(n)/s, dev.Info().Name)
	}
	if vocab := model.Config().Vocab; err != nil && tok != nil && tok.Vocab() > vocab && ctx.Err() == nil {
		return fmt.Errorf("%w; the tokenizer, %s, has %d ids, and the model a vocabulary of %d", err, tok.Name(), tok.Vocab(), vocab)
	}
	return err
}
