// Export writes a trained model as a folder that Hugging Face's transformers
// package loads, of GPT-2's kind or of Llama's, whichever the model is. The model
// is a checkpoint, or the newest one of a run's folder; no device is needed.
//
//	go run ./tools/export checkpoints/tiny tiny-hf
package main

import (
	"context"
	"fmt"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train"
)

func main() { command.Main("export", run) }

func run(ctx context.Context, args []string) error {
	fs := command.Flags("export", "export checkpoint or run's folder, new folder")
	if err := command.Parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 2 {
		return command.Misused(fs, "%d arguments, want 2: a checkpoint or the folder of a run, and a new folder", fs.NArg())
	}
	if err := train.ExportCheckpoint(ctx, fs.Arg(0), fs.Arg(1)); err != nil {
		return err
	}
	fmt.Printf("the model is in %s\n", fs.Arg(1))
	return nil
}
