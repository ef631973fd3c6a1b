// Package tokenizecmd is the command tokenize: it turns texts into token files.
package tokenizecmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/tools/internal/progress"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// Command turns text files into the token files that training reads.
var Command = &command.Command{
	Name:  "tokenize",
	Usage: "[flags] text...",
	Short: "Turn text files into the token files that training reads",
	Long: `They are NAME.train.bin, and NAME.val.bin with the end of the tokens. Each text is one
document; one named - is the standard input.
`,
	Examples: []string{
		"lemnos tokenize -tokenizer gpt2 corpus.txt              # corpus.train.bin and corpus.val.bin",
		"zcat corpus.gz | lemnos tokenize -o data/corpus -",
	},
	Flags: func() *flag.FlagSet { return flags(new(options)) },
	Values: map[string]command.Values{
		"o":         command.OrFiles(),
		"tokenizer": command.OrFiles("bytes", "gpt2"),
	},
	Operands: command.OrFiles(),
	Run:      command.Interruptible(run),
}

// options are the flags.
type options struct {
	name      string
	tokenizer string
	fraction  float64
}

func flags(o *options) *flag.FlagSet {
	fs := command.Flags("tokenize")
	fs.StringVar(&o.name, "o", "", "what the names of the token files begin with; empty: the first text's name without its extension")
	fs.StringVar(&o.tokenizer, "tokenizer", "gpt2", "bytes, gpt2, or the path of a tokenizer.json or of its folder")
	fs.Float64Var(&o.fraction, "val_fraction", train.DefaultConfig().ValFraction, "part of the tokens, at their end, for NAME.val.bin; 0 writes none and removes one that is there")
	return fs
}

func run(ctx context.Context, p *command.Process) error {
	var o options
	fs := flags(&o)
	if err := p.Parse(fs); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return command.Misused(fs, "no text file given")
	}
	if o.name == "" && fs.Arg(0) == "-" {
		return command.Mistaken(errors.New("tokenize: the text is the standard input: say with -o what the names of the token files begin with"))
	}
	if !(o.fraction >= 0 && o.fraction < 1) {
		return command.Mistaken(fmt.Errorf("tokenize: -val_fraction is %v, want a number in [0, 1)", o.fraction))
	}
	if o.name == "" {
		o.name = strings.TrimSuffix(fs.Arg(0), filepath.Ext(fs.Arg(0)))
	}
	if err := tokenizer.CheckName(o.tokenizer); err != nil {
		return command.Mistaken(fmt.Errorf("tokenize: %w", err))
	}
	tok, err := tokenizer.Open(o.tokenizer)
	if err != nil {
		return err
	}
	shown := progress.New(p.Stderr)
	t, err := data.Tokenize(ctx, tok, o.name, o.fraction, shown.Listener(), fs.Args()...)
	shown.Close()
	if err != nil {
		return err
	}
	all := t.TrainTokens + t.ValTokens
	fmt.Fprintf(p.Stdout, "%d bytes of text are %d tokens of %d bytes, %.2f bytes of text each\n", t.Bytes, all, t.Width, float64(t.Bytes)/float64(max(all, 1)))
	fmt.Fprintf(p.Stdout, "%12d tokens in %s\n", t.TrainTokens, t.TrainPath)
	if t.ValPath != "" {
		fmt.Fprintf(p.Stdout, "%12d tokens in %s\n", t.ValTokens, t.ValPath)
	} else if o.fraction > 0 {
		fmt.Fprintf(p.Stdout, "%12d tokens are held out: -val_fraction %v of %d is less than one\n", 0, o.fraction, all)
	}
	_, err = fmt.Fprintf(p.Stdout, "train on them with:\n  %s -data %s -vocab %d\n", p.Call("train"), command.Quote(t.TrainPath), tok.Vocab())
	return err
}
