package train

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/figure"
	"github.com/lemnos-ml/lemnos/train/internal/meter"
	"github.com/lemnos-ml/lemnos/train/internal/output"
)

// Phase says how far something is that takes long and is no step.
type Phase = data.Phase

// Hooks are called by Run from the goroutine that called it, between two steps; nil ones
// are not. Training waits for them.
type Hooks struct {
	// Progress receives every record written to the metrics file.
	Progress func(Record)
	// Step is called when a step was submitted, with the steps done so far. What waits for
	// the device there makes training slower.
	Step func(step int64)
	// Phase is told what the run does besides steps: "checking tokens" of data that were
	// not opened with [OpenData], "compiling kernels", "counting tokens", "initializing",
	// "restoring" a checkpoint or "loading model", "first step", which some drivers compile
	// for, "evaluating", and "saving", which goes on beside steps and evaluations.
	Phase func(Phase)
	// Plan receives the memory that the run will hold, before it does.
	Plan func(MemoryPlan)
	// Counts receives what a step does on the device, once it is recorded.
	Counts func([]ops.OpCount)
	// Outlook receives what the run will do, before it makes a file; its error ends the run.
	Outlook func(Outlook) error
	// Start gives a model whose parameters are reserved, as of [ReserveModel], the values
	// that it starts with, unless those of a checkpoint or of From do: the memory plan is
	// known to fit by then.
	Start func(context.Context) error
	// Begun is called when the first step of this call is done: until then
	// nothing is lost when the process ends.
	Begun func()
	// Sample is called after each evaluation, between two steps; what it runs on
	// the device must leave the parameters as they are. TensorBoard is given the text that
	// it returns, if any.
	Sample func(step int64) (text string)
	// Plot receives the curves of the whole run with each record, see [LossPlot]. To draw them
	// takes some hundredths of a second and is best done by another goroutine.
	Plot func(figure.Figure)
	// Logger receives warnings and messages, and what Progress, Phase, Plan and Outlook would have
	// been told where they are nil; a nil Logger is silent.
	Logger *slog.Logger
	// Fresh starts over: once everything else is opened and checked, the files of
	// an earlier run are removed from the run's folder, and no others.
	Fresh bool
	// ConfigFile is the file that the configuration was given in, see [Composed.File]: it is
	// kept in the run's folder as it is, with its comments. nil for none.
	ConfigFile []byte
	// Reduce are called as in [NewTrainer].
	Reduce []Reduce
	// DetectAnomaly is that of [Trainer.DetectAnomaly].
	DetectAnomaly bool

	files output.System // for tests; nil is output.OS
}

func (h Hooks) withDefaults() Hooks {
	if h.Logger == nil {
		h.Logger = slog.New(slog.DiscardHandler)
	}
	if h.files == nil {
		h.files = output.OS{}
	}
	return h
}

// Listen has other told too, after what h tells already: its functions that are told and not asked, which are Progress,
// Step, Phase, Plan, Counts, Begun, Sample and Plot. Of two texts of Sample the first that is one counts.
func (h *Hooks) Listen(other Hooks) {
	h.Progress, h.Step, h.Phase = both(h.Progress, other.Progress), both(h.Step, other.Step), both(h.Phase, other.Phase)
	h.Plan, h.Counts, h.Plot = both(h.Plan, other.Plan), both(h.Counts, other.Counts), both(h.Plot, other.Plot)
	switch first, second := h.Begun, other.Begun; {
	case first == nil:
		h.Begun = second
	case second != nil:
		h.Begun = func() { first(); second() }
	}
	switch first, second := h.Sample, other.Sample; {
	case first == nil:
		h.Sample = second
	case second != nil:
		h.Sample = func(step int64) string {
			text := first(step)
			return cmp.Or(text, second(step))
		}
	}
}

// both calls two functions, of which either may be nil.
func both[T any](first, second func(T)) func(T) {
	if first == nil {
		return second
	}
	if second == nil {
		return first
	}
	return func(v T) {
		first(v)
		second(v)
	}
}

// start begins a phase.
func (h Hooks) start(name string, total int64, unit string) *meter.Meter {
	return meter.Start(h.Phase, h.Logger, name, total, unit)
}
