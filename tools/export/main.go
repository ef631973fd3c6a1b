// Export writes a trained model as a folder that Hugging Face's transformers
// package loads, of GPT-2's kind or of Llama's, whichever the model is. The model
// is a checkpoint, or the newest one of a run's folder; no device is needed.
//
//	go run ./tools/export checkpoints/tiny tiny-hf
package main

import (
	"fmt"
	"os"

	"github.com/lemnos-ml/lemnos/train"
)

func main() {
	if len(os.Args) != 3 || os.Args[1] == "-help" {
		fmt.Fprintln(os.Stderr, "usage: export checkpoint or run's folder, new folder")
		os.Exit(2)
	}
	if err := train.ExportCheckpoint(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("the model is in %s\n", os.Args[2])
}
