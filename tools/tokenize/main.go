// Tokenize turns text files into the token files that training reads:
// NAME.train.bin, and NAME.val.bin with the end of the tokens. Each text is one
// document; /dev/stdin is one too.
//
//	go run ./tools/tokenize -tokenizer gpt2 -o data/corpus corpus.txt
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

func main() {
	command.Main("tokenize", func(ctx context.Context, args []string) error { return run(ctx, args, os.Stdout, os.Stderr) })
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	fs := command.Flags("tokenize", "tokenize [flags] text...\nA text named - is the standard input.")
	name := fs.String("o", "", "what the names of the token files begin with; empty: the first text's name without its extension")
	tokenizerName := fs.String("tokenizer", "gpt2", "bytes, gpt2, or the path of a tokenizer.json or of its folder")
	fraction := fs.Float64("val_fraction", train.DefaultConfig().ValFraction, "part of the tokens, at their end, for NAME.val.bin; 0 writes none and removes one that is there")
	if err := command.Parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return command.Misused(fs, "no text file given")
	}
	if *name == "" && fs.Arg(0) == "-" {
		return errors.New("tokenize: the text is the standard input: say with -o what the names of the token files begin with")
	}
	if *name == "" {
		*name = strings.TrimSuffix(fs.Arg(0), filepath.Ext(fs.Arg(0)))
	}
	tok, err := tokenizer.Open(*tokenizerName)
	if err != nil {
		return err
	}
	t, err := data.Tokenize(ctx, tok, *name, *fraction, slog.New(slog.NewTextHandler(log, nil)), fs.Args()...)
	if err != nil {
		return err
	}
	all := t.TrainTokens + t.ValTokens
	fmt.Fprintf(out, "%d bytes of text are %d tokens of %d bytes, %.2f bytes of text each\n", t.Bytes, all, t.Width, float64(t.Bytes)/float64(max(all, 1)))
	fmt.Fprintf(out, "%12d tokens in %s\n", t.TrainTokens, t.TrainPath)
	if t.ValPath != "" {
		fmt.Fprintf(out, "%12d tokens in %s\n", t.ValTokens, t.ValPath)
	}
	_, err = fmt.Fprintf(out, "train on them with:\n  %s -data %s -vocab %d\n", command.Call(os.Args[0], "train"), command.Quote(t.TrainPath), tok.Vocab())
	return err
}
