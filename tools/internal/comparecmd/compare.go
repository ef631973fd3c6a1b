// Package comparecmd is the command compare: it puts runs beside each other.
package comparecmd

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train/figure"
)

// Command draws the losses of runs over each other, and says in what the runs differ.
var Command = &command.Command{
	Name:  "compare",
	Usage: "[flags] run...",
	Short: "Draw the losses of runs over each other, and tell in what they differ",
	Long: `A run is its folder, its metrics.jsonl or a checkpoint; a folder of such folders stands for
all of them. The table has the last and the best validation loss, and the fields of the configurations
that are not the same. No device is needed, and runs may be training. A run that can't be read, or
drawn along the axis, is told of and left out, and the exit status is 1.
`,
	Examples: []string{
		"lemnos compare checkpoints",
		"lemnos compare -o losses.png -x tokens checkpoints/small checkpoints/large",
		"lemnos compare -o= checkpoints/tiny   # the table alone",
	},
	Flags:    func() *flag.FlagSet { fs, _ := flags(); return fs },
	Values:   map[string]command.Values{"x": command.Words(axisNames()...), "o": command.OrFiles()},
	Operands: command.Runs,
	Run:      command.AtOnce(run),
}

// options are the flags.
type options struct{ out, x string }

func flags() (*flag.FlagSet, *options) {
	o := new(options)
	fs := command.Flags("compare")
	fs.StringVar(&o.out, "o", "compare.svg", "`file` to draw to, .svg or .png; empty: none")
	fs.StringVar(&o.x, "x", "step", "what the horizontal axis has: "+strings.Join(axisNames(), ", "))
	return fs, o
}

func run(p *command.Process) error {
	fs, o := flags()
	if err := p.Parse(fs); err != nil {
		return err
	}
	x, known := axes[o.x]
	ext := strings.ToLower(filepath.Ext(o.out))
	switch {
	case fs.NArg() == 0:
		return command.Misused(fs, "name the folders of runs, or a folder that holds them")
	case !known:
		return command.Misused(fs, "-x is %q, want %s", o.x, strings.Join(axisNames(), ", "))
	case o.out != "" && ext != ".svg" && ext != ".png":
		return command.Misused(fs, "-o is %q, want a name that ends in .svg or .png", o.out)
	}
	runs, failed := open(fs.Args())
	if len(runs) == 0 {
		return failed
	}
	if err := printTables(p.Stdout, runs); err != nil || o.out == "" {
		return errors.Join(failed, err)
	}
	drawn, unknown := along(x, runs)
	if failed = errors.Join(failed, unknown); len(drawn) == 0 {
		return failed
	}
	if err := picture(o.out, draw(drawn, x)); err != nil {
		return errors.Join(failed, fmt.Errorf("compare: %w", err))
	}
	fmt.Fprintf(p.Stdout, "\nthe losses are drawn in %s\n", o.out)
	return failed
}

// picture writes a figure to a file, in the form that its name ends in: whole, or the file stays as it was.
func picture(name string, f figure.Figure) error {
	var b bytes.Buffer
	if strings.EqualFold(filepath.Ext(name), ".svg") {
		if err := f.SVG(&b); err != nil {
			return err
		}
	} else {
		img, err := f.Image()
		if err == nil {
			err = png.Encode(&b, img)
		}
		if err != nil {
			return err
		}
	}
	temp := fmt.Sprintf("%s.%016x.tmp", name, rand.Uint64())
	defer os.Remove(temp) // it has the other name when all went well
	err := os.WriteFile(temp, b.Bytes(), 0o666)
	if bad := (*fs.PathError)(nil); errors.As(err, &bad) {
		bad.Path = name
	}
	if err != nil {
		return err
	}
	return os.Rename(temp, name)
}
