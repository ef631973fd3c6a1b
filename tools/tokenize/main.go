// Tokenize turns text files into the token files that training reads:
// NAME.train.bin, and NAME.val.bin with the end of the tokens. Each text is one
// document; /dev/stdin is one too.
//
//	go run ./tools/tokenize -tokenizer gpt2 -o data/corpus corpus.txt
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

func main() {
	// The second signal kills at once: the handler is gone after the first.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case ctx.Err() != nil && err != nil:
		fmt.Fprintln(os.Stderr, "tokenize: interrupted")
		os.Exit(130)
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	fs := flag.NewFlagSet("tokenize", flag.ContinueOnError)
	fs.SetOutput(log)
	name := fs.String("o", "", "what the names of the token files begin with; empty: the first text's name without its extension")
	tokenizerName := fs.String("tokenizer", "gpt2", "bytes, gpt2, or the path of a tokenizer.json or of its folder")
	fraction := fs.Float64("val_fraction", train.DefaultConfig().ValFraction, "part of the tokens, at their end, for NAME.val.bin; 0 writes none and removes one that is there")
	fs.Usage = func() {
		fmt.Fprintf(log, "usage: tokenize [flags] text...\nA text named - is the standard input.\n")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		fs.Usage()
		return errors.New("tokenize: no text file given")
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
	t, err := train.TokenizeFiles(ctx, tok, *name, *fraction, slog.New(slog.NewTextHandler(log, nil)), fs.Args()...)
	if err != nil {
		return err
	}
	all := t.TrainTokens + t.ValTokens
	fmt.Fprintf(out, "%d bytes of text are %d tokens of %d bytes, %.2f bytes of text each\n", t.Bytes, all, t.Width, float64(t.Bytes)/float64(max(all, 1)))
	fmt.Fprintf(out, "%12d tokens in %s\n", t.TrainTokens, t.TrainPath)
	if t.ValPath != "" {
		fmt.Fprintf(out, "%12d tokens in %s\n", t.ValTokens, t.ValPath)
	}
	_, err = fmt.Fprintf(out, "train on them with:\n  go run ./tools/train -data %s -vocab %d\n", t.TrainPath, tok.Vocab())
	return err
}
