package data_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// A text file, a token a byte, with a tenth held out.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "corpus.txt")
	if err := os.WriteFile(path, []byte("To be, or not to be, that is the question."), 0o666); err != nil {
		log.Fatal(err)
	}
	o := data.Options{Path: path, Vocab: 256, Context: 3, ValFraction: 0.1}
	corpus, err := data.Open(context.Background(), o, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer corpus.Close()
	ids := make([]int32, 5)
	if err := corpus.Train.Read(ids, 0); err != nil {
		log.Fatal(err)
	}
	fmt.Println(corpus.Train.Len(), corpus.Val.Len(), ids, corpus.Tokenizer.Name())
	// Output: 38 4 [84 111 32 98 101] bytes
}

// Token files of a text, as the tool tokenize writes them and Open reads them.
func ExampleTokenize() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "corpus.txt")
	if err := os.WriteFile(path, []byte("To be, or not to be, that is the question."), 0o666); err != nil {
		log.Fatal(err)
	}
	tok, err := tokenizer.Open("gpt2")
	if err != nil {
		log.Fatal(err)
	}
	name := filepath.Join(dir, "corpus") // corpus.train.bin and corpus.val.bin
	if _, err := data.Tokenize(context.Background(), tok, name, 0.2, nil, path); err != nil {
		log.Fatal(err)
	}
	tokens, err := data.OpenTokens(name+".train.bin", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer tokens.Close()
	fmt.Println(tokens.Len(), "tokens of", tokens.Width(), "bytes")
	// Output: 11 tokens of 2 bytes
}

// Gather a batch of two windows of a text: the same ones wherever it is called.
func ExampleSampler() {
	tokens := data.TextTokens([]byte("to be, or not to be"))
	s := data.Sampler{Tokens: tokens, Seed: 1, B: 2, M: 4}
	x, y := make([]int32, 8), make([]int32, 8)
	if err := s.Gather(0, x, y); err != nil {
		log.Fatal(err)
	}
	for row := range 2 {
		fmt.Printf("%q %q\n", text(x[4*row:4*row+4]), text(y[4*row:4*row+4]))
	}
	// Output:
	// " to " "to b"
	// "be, " "e, o"
}

// The windows that a text is measured on follow each other.
func ExampleWindows() {
	w := data.Windows{Tokens: data.TextTokens([]byte("to be, or")), B: 2, M: 4}
	x, y := make([]int32, 8), make([]int32, 8)
	rows, err := w.Gather(0, x, y)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(w.Count(), rows)
	for row := range rows {
		fmt.Printf("%q %q\n", text(x[4*row:4*row+4]), text(y[4*row:4*row+4]))
	}
	// Output:
	// 2 2
	// "to b" "o be"
	// "e, o" ", or"
}

// text returns the bytes that ids are.
func text(ids []int32) string {
	var b []byte
	for _, id := range ids {
		b = append(b, byte(id))
	}
	return string(b)
}
