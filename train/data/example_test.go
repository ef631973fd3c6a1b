package data_test

import (
	"fmt"
	"log"

	"github.com/lemnos-ml/lemnos/train/data"
)

// Gather a batch of two windows of a text.
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
