// Tokenize turns text files into the token files that training reads:
// NAME.train.bin, and NAME.val.bin with the end of the text.
//
//	go run ./tools/tokenize -tokenizer gpt2 -o data/corpus corpus.txt
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/lemnos-ml/lemnos/train"
)

func main() {
	err := run(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	fs := flag.NewFlagSet("tokenize", flag.ContinueOnError)
	name := fs.String("o", "", "what the names of the token files begin with; empty: the first text's name without its extension")
	tokenizer := fs.String("tokenizer", "gpt2", "bytes, gpt2 or the path of a tokenizer.json")
	fraction := fs.Float64("val_fraction", train.DefaultConfig().ValFraction, "part of the text, at its end, for NAME.val.bin; 0 writes none")
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "usage: tokenize [flags] text...\n")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		fs.Usage()
		return errors.New("tokenize: no text file given")
	}
	if *name == "" {
		*name = strings.TrimSuffix(fs.Arg(0), filepath.Ext(fs.Arg(0)))
	}
	tok, err := train.NewTokenizer(*tokenizer)
	if err != nil {
		return err
	}
	t, err := train.TokenizeFiles(tok, *name, *fraction, fs.Args()...)
	if err != nil {
		return err
	}
	all := t.TrainTokens + t.ValTokens
	fmt.Printf("%d bytes of text are %d tokens of %d bytes, %.2f bytes of text each\n", t.Bytes, all, t.Width, float64(t.Bytes)/float64(max(all, 1)))
	fmt.Printf("%12d tokens in %s\n", t.TrainTokens, t.TrainPath)
	if t.ValPath != "" {
		fmt.Printf("%12d tokens in %s\n", t.ValTokens, t.ValPath)
	}
	fmt.Printf("train on them with:\n  go run ./tools/train -data %s -token_width %d -tokenizer %s -vocab %d\n", t.TrainPath, t.Width, *tokenizer, tok.Vocab())
	return nil
}
