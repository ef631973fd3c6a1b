// Train trains a transformer on a text or token file, on whatever Vulkan device is
// there, and leaves checkpoints, a metrics file and a loss plot in the run's
// folder. Without -data it trains on the Go standard library's source. Started
// again, it goes on where it was; -fresh starts over.
//
// SIGINT (Ctrl-C), SIGTERM and SIGHUP (a closed terminal) save the state and end
// the process with status 130; a second one ends it at once, and the last
// checkpoint stays whole. Before the first step there is nothing to save, and the
// first signal ends it at once. Output that nobody reads does not matter.
//
//	go run ./tools/train
//	go run ./tools/train -preset shakespeare-char -data tinyshakespeare.txt
//	go run ./tools/train -preset gpt2-124m -help
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/window"
	"github.com/lemnos-ml/lemnos/vk"
)

func main() { os.Exit(tool(os.Args)) }

// tool runs the tool and returns its exit status.
func tool(args []string) int {
	stdout, stderr := newOutput(os.Stdout), newOutput(os.Stderr)
	report := func(err error) (status int) {
		stdout.flush()
		defer stderr.flush()
		status = command.Status(err, stderr)
		if !errors.Is(err, train.ErrInterrupted) {
			return status
		}
		fmt.Fprintf(stderr, "resume with:\n  %s\n", resumeCommand(args[0], args[1:]))
		return command.Interrupted
	}
	in := &interrupts{exit: func(err error) { os.Exit(report(err)) }, notice: func(text string) { fmt.Fprintln(stderr, text) }}
	return report(run(in, args, stdout))
}

func run(in *interrupts, args []string, stdout io.Writer) error {
	cfg, o, err := parse(args[1:], stdout)
	if err != nil {
		return err
	}
	if done, err := finished(cfg, o, stdout); done || err != nil {
		return err
	}
	ctx := in.watch()
	log := slog.New(slog.NewTextHandler(stdout, nil))

	device := cfg.Device
	if device == "auto" {
		device = "" // leaves $LEMNOS_DEVICE its say
	}
	dev, err := vk.Open(&vk.Options{Device: device})
	if err != nil {
		return err
	}
	defer dev.Close()
	log.Info("loading data", "data", cfg.Data, "tokenizer", cfg.Tokenizer)
	data, err := train.OpenData(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer data.Close()
	model, start, err := train.ReserveModel(dev, cfg)
	if err != nil {
		return err
	}
	defer model.Params().Release()

	hooks := train.Hooks{Logger: log, Fresh: o.fresh, DetectAnomaly: o.detect, Begun: func() { in.begun.Store(true) },
		Start: start, Plan: func(p train.MemoryPlan) { fmt.Fprint(stdout, p) }}
	s, err := newSampler(ctx, model, cfg, o, data.Tokenizer, stdout)
	if err != nil {
		return err
	}
	defer s.close()
	if s != nil {
		hooks.Sample = s.print
	}
	err = besideWindow(o.window, cfg.RunName, &hooks, func() error { return train.Run(ctx, dev, cfg, model, data, hooks) })
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "done: checkpoints, metrics and loss.png are in %s\n", cfg.Dir())
	if s != nil {
		fmt.Fprintf(stdout, "sample from it with:\n  %s\n", sampleCommand(args[0], o.prompt, cfg.Dir(), data.Tokenizer == nil))
	}
	return nil
}

// finished says so if the run has nothing to do. Its error is why it can't go on.
func finished(cfg train.Config, o options, stdout io.Writer) (bool, error) {
	if err := cfg.CheckFolder(o.fresh, o.file); err != nil || o.fresh {
		return false, err
	}
	step, done, err := cfg.CheckResume()
	if done {
		fmt.Fprintf(stdout, "the run is at step %d already, nothing to do: total_steps is %d\n", step, cfg.TotalSteps)
	}
	return done, err
}

// besideWindow trains, with the loss curve in a window if one is wanted. The
// window needs the main thread; training never waits for it.
func besideWindow(wanted bool, title string, hooks *train.Hooks, run func() error) (err error) {
	if !wanted {
		return run()
	}
	w, err := window.Open("Lemnos: " + title)
	if err != nil {
		hooks.Logger.Warn("training without the window", "error", err)
	}
	defer w.Close()
	hooks.Plot = w.Show
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = run()
	}()
	w.Run(done)
	<-done
	return err
}

// options are the flags that are not part of the configuration.
type options struct {
	preset string
	file   string
	fresh  bool
	detect bool
	window bool
	sample int    // tokens of a sample at each evaluation
	prompt string // that samples continue
}

// flags declares all flags; defaults are what usage shows.
func flags(o *options, defaults train.Config) (*flag.FlagSet, *[]string) {
	fs := command.Flags("train", "train [flags]")
	fs.StringVar(&o.preset, "preset", o.preset, "configuration to start from: "+strings.Join(train.Presets(), ", ")+"; empty: the first, or finetune where -from is set")
	fs.StringVar(&o.file, "config", o.file, "JSON file of a configuration to start from instead")
	fs.BoolVar(&o.window, "window", false, "show the loss curve in a window; needs a build with -tags window")
	fs.BoolVar(&o.fresh, "fresh", false, "remove the files of an earlier run from the run's folder, once all else is checked, and start over")
	fs.BoolVar(&o.detect, "detect-anomaly", false, "run each step one operation after the other and name the first whose result is not finite; slow")
	fs.IntVar(&o.sample, "sample", 200, "tokens of text that the model prints at each evaluation; 0: none")
	fs.StringVar(&o.prompt, "prompt", "", "text that these samples continue")
	return fs, train.ConfigFlags(fs, defaults)
}

// parse starts from a preset, or the file of -config; the other flags override it.
// -help after one of those, or after -from, shows what it sets.
func parse(args []string, usage io.Writer) (cfg train.Config, o options, err error) {
	fs, overrides := flags(&o, train.Config{})
	fs.Usage = func() {
		cfg, err := train.BaseConfig(o.preset, o.file, *overrides)
		if err != nil {
			fmt.Fprintln(usage, err)
			return
		}
		shown, _ := flags(&options{preset: o.preset, file: o.file}, cfg)
		shown.SetOutput(usage)
		shown.Usage()
	}
	if err := command.NoOperands(fs, args); err != nil {
		return cfg, o, err
	}
	if o.sample < 0 {
		return cfg, o, fmt.Errorf("train: -sample is %d, want at least 0", o.sample)
	}
	cfg, err = train.Configure(o.preset, o.file, *overrides)
	return cfg, o, err
}
