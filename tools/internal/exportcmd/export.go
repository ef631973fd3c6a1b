// Package exportcmd is the command export: it writes a trained model as a Hugging Face folder.
package exportcmd

import (
	"context"
	"flag"
	"fmt"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train"
)

// Command writes a trained model as a Hugging Face folder.
var Command = &command.Command{
	Name:  "export",
	Usage: "checkpoint or run's folder, new folder",
	Short: "Write a trained model as a folder that Hugging Face's transformers loads",
	Long: `It is of GPT-2's kind or of Llama's, whichever the model is: a checkpoint, or the newest
one of a run's folder. No device is needed.
`,
	Examples: []string{"lemnos export checkpoints/tiny tiny-hf"},
	Flags:    flags,
	Operands: command.Runs,
	Run:      command.Interruptible(run),
}

func flags() *flag.FlagSet { return command.Flags("export") }

func run(ctx context.Context, p *command.Process) error {
	fs := flags()
	if err := p.ParseOperands(fs, 2, 2, "a checkpoint or the folder of a run, and a new folder"); err != nil {
		return err
	}
	if err := train.ExportCheckpoint(ctx, fs.Arg(0), fs.Arg(1)); err != nil {
		return err
	}
	fmt.Fprintf(p.Stdout, "the model is in %s\n", fs.Arg(1))
	return nil
}
