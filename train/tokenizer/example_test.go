package tokenizer_test

import (
	"fmt"
	"log"

	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// GPT-2's tokenizer is built in; of others give the path of a tokenizer.json.
func ExampleOpen() {
	tok, err := tokenizer.Open("gpt2")
	if err != nil {
		log.Fatal(err)
	}
	ids, err := tok.Encode(nil, "Hello, world!")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tok.Vocab(), ids)
	var text []byte
	for _, id := range ids {
		if text, err = tok.Decode(text, id); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%q\n", text)
	}
	// Output:
	// 50257 [15496 11 995 0]
	// "Hello"
	// "Hello,"
	// "Hello, world"
	// "Hello, world!"
}
