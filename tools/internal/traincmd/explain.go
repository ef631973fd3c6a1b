package traincmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/vk"
)

// errPlanned ends a run that was to be told of only.
var errPlanned = errors.New("train: planned, not run")

// outlook returns what explains a run before its first step, and ends it there where it is
// only planned.
func outlook(ctx context.Context, dev *vk.Device, c train.Config, planned bool, out io.Writer) (func(train.Outlook) error, error) {
	rate, err := train.ProductRate(ctx, dev, c)
	if err != nil {
		return nil, err
	}
	return func(o train.Outlook) error {
		fmt.Fprint(out, explain(o, c, dev.Info(), rate))
		if planned {
			fmt.Fprintf(out, "memory in full:\n%v", o.Memory)
			return errPlanned
		}
		return nil
	}, nil
}

// explain tells before the first step what a run will do. rate is what the device does in
// the run's matrix products, in FLOP/s, 0 where that is not known.
func explain(o train.Outlook, c train.Config, device vk.Info, rate float64) string {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "  %-7s %s\n", label, fmt.Sprintf(format, args...))
	}
	line("model", "%s", describe(o, c))
	held := "none held out"
	if o.Held > 0 {
		held = humanize.Comma(o.Held) + " held out"
	}
	line("data", "%s: %s tokens to train on, %s", cmp.Or(c.Data, "Go's standard library"), humanize.Comma(o.Train), held)
	from := ""
	if o.From > 0 {
		from = fmt.Sprintf(", on from step %s", humanize.Comma(o.From))
	}
	line("steps", "%s%s, of %s tokens: %s in all, %s epochs", humanize.Comma(o.Steps), from, humanize.Comma(o.StepTokens), humanize.Comma(o.Steps*o.StepTokens), epochs(o.Epochs()))
	if rate > 0 {
		products := c.ProductFLOPs() * float64(o.Tokens()) / rate
		line("time", "some %s of matrix products, at %s just now; the first steps tell more", command.Duration(max(1, products)), humanize.SIWithDigits(rate, 0, "FLOP/s"))
	} else {
		line("time", "the first steps tell")
	}
	line("memory", "%s of %s on %s; -plan lists it", command.Size(uint64(o.Memory.Total())), command.Size(device.Memory), device.Name)
	line("disk", "%s in %s: checkpoints of %s, the %d newest are kept; %s are free", command.Size(uint64(o.Disk)), c.Dir(),
		command.Size(uint64(o.Checkpoint)), c.Keep, command.Size(uint64(o.Free)))
	line("stop", "Ctrl-C saves; the same command goes on where it was, -fresh starts over")
	return b.String()
}

// epochs writes how many there are, without an exponent where they are many.
func epochs(n float64) string {
	if n < 1000 {
		return fmt.Sprintf("%.3g", n)
	}
	return humanize.CommafWithDigits(n, 0)
}

// describe tells of the model.
func describe(o train.Outlook, c train.Config) string {
	text := fmt.Sprintf("%s, %s parameters", c.Model, humanize.Comma(o.Parameters))
	if c.Model == "transformer" {
		text += fmt.Sprintf(": %d layers of width %d, %d heads, context %s, vocabulary %s", c.Layers, c.Width, c.Heads, humanize.Comma(int64(c.ContextLen)), humanize.Comma(int64(c.Vocab)))
	}
	if c.From != "" {
		text += ", from " + c.From
	}
	return text + ", " + c.Storage().String()
}
