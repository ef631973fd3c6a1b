// Train trains a transformer on a text or token file, on whatever Vulkan device is
// there, and leaves checkpoints, a metrics file and a loss plot in the run's
// folder. Without -data it trains on the Go standard library's source. Started
// again, it goes on where it was; -fresh starts over.
//
//	go run ./tools/train
//	go run ./tools/train -preset shakespeare-char -data tinyshakespeare.txt
//	go run ./tools/train -preset gpt2-124m -help
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/window"
	"github.com/lemnos-ml/lemnos/vk"
)

func main() {
	err := run(os.Args[1:])
	switch {
	case errors.Is(err, train.ErrInterrupted):
		fmt.Fprintf(os.Stderr, "%v\nresume with:\n  go run ./tools/train %s\n", err, resumeArgs(os.Args[1:]))
		os.Exit(130)
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	cfg, o, err := parse(args, os.Stderr)
	if err != nil {
		return err
	}
	if o.fresh {
		if err := os.RemoveAll(cfg.Dir()); err != nil {
			return err
		}
	}
	// The second signal kills at once: the handler is gone after the first.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	device := cfg.Device
	if device == "auto" {
		device = "" // leaves $LEMNOS_DEVICE its say
	}
	dev, err := vk.Open(&vk.Options{Device: device})
	if err != nil {
		return err
	}
	defer dev.Close()
	data, err := train.OpenData(cfg)
	if err != nil {
		return err
	}
	defer data.Close()
	model, err := train.NewModel(dev, cfg)
	if err != nil {
		return err
	}
	defer model.Params().Release()

	hooks := train.Hooks{Logger: slog.New(slog.NewTextHandler(os.Stdout, nil)), Plan: func(p train.MemoryPlan) { fmt.Print(p) }}
	s, err := newSampler(ctx, model, cfg, o, os.Stdout)
	if err != nil {
		return err
	}
	defer s.close()
	if s != nil {
		hooks.Sample = s.print
	}
	var w *window.Window
	if o.window {
		if w, err = window.Open("Lemnos: " + cfg.RunName); err != nil {
			hooks.Logger.Warn("training without the window", "error", err)
		}
		defer w.Close()
		hooks.Plot = w.Show
	}
	// The window needs the main thread; training never waits for it.
	var trained error
	done := make(chan struct{})
	go func() {
		defer close(done)
		trained = train.Run(ctx, dev, cfg, model, data, hooks)
	}()
	w.Run(done)
	<-done
	if trained != nil {
		return trained
	}
	fmt.Printf("done: checkpoints, metrics and loss.png are in %s\n", cfg.Dir())
	if s != nil {
		fmt.Printf("sample from it with:\n  go run ./tools/sample -prompt %s %s\n", quote(o.prompt), quote(cfg.Dir()))
	}
	return nil
}

// options are the flags that are not part of the configuration.
type options struct {
	preset string
	file   string
	fresh  bool
	window bool
	sample int    // tokens of a sample at each evaluation
	prompt string // that samples continue
}

// flags declares all flags; defaults are what usage shows.
func flags(o *options, defaults train.Config) (*flag.FlagSet, *[]string) {
	fs := flag.NewFlagSet("train", flag.ContinueOnError)
	fs.StringVar(&o.preset, "preset", o.preset, "configuration to start from: "+strings.Join(train.Presets(), ", ")+"; empty: the first, or finetune where -from is set")
	fs.StringVar(&o.file, "config", o.file, "JSON file of a configuration to start from instead")
	fs.BoolVar(&o.window, "window", false, "show the loss curve in a window; needs a build with -tags window")
	fs.BoolVar(&o.fresh, "fresh", false, "delete the run's folder and start over")
	fs.IntVar(&o.sample, "sample", 200, "tokens of text that the model prints at each evaluation; 0: none")
	fs.StringVar(&o.prompt, "prompt", "", "text that these samples continue")
	return fs, train.ConfigFlags(fs, defaults)
}

// parse starts from a preset, or the file of -config; the other flags override it.
// -help after one of those, or after -from, shows what it sets.
func parse(args []string, usage io.Writer) (cfg train.Config, o options, err error) {
	fs, overrides := flags(&o, train.Config{})
	fs.SetOutput(usage)
	fs.Usage = func() {
		cfg, err := train.BaseConfig(o.preset, o.file, *overrides)
		if err != nil {
			fmt.Fprintln(usage, err)
			return
		}
		shown, _ := flags(&options{preset: o.preset, file: o.file}, cfg)
		shown.SetOutput(usage)
		fmt.Fprintln(usage, "usage: train [flags]")
		shown.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return cfg, o, err
	}
	switch {
	case fs.NArg() > 0:
		return cfg, o, fmt.Errorf("train: unexpected argument %q", fs.Arg(0))
	case o.sample < 0:
		return cfg, o, fmt.Errorf("train: -sample is %d, want at least 0", o.sample)
	}
	cfg, err = train.Configure(o.preset, o.file, *overrides)
	return cfg, o, err
}

// resumeArgs is the command line without -fresh, quoted for a shell.
func resumeArgs(args []string) string {
	var out []string
	for _, a := range args {
		if a == "-fresh" || a == "--fresh" {
			continue
		}
		out = append(out, quote(a))
	}
	return strings.Join(out, " ")
}

// quote writes a word so that a shell reads it as it is.
func quote(word string) string {
	if word == "" || strings.ContainsAny(word, " \t\n\"'$&|;<>(){}*?\\#~`!") {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}
