// Package traincmd is the command train: it trains a transformer on a text or token file.
package traincmd

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/lemnos-ml/lemnos/internal/disk"
	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/tools/internal/progress"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/window"
	"github.com/lemnos-ml/lemnos/vk"
)

// Command trains a transformer on a text or token file.
var Command = &command.Command{
	Name:  "train",
	Usage: "[flags]",
	Short: "Train a model on a text or token file, and go on where it stopped",
	Long: `It leaves checkpoints, a metrics file and a loss plot in the run's folder. Without -data it
trains on the Go standard library's source. Started again, it goes on where it was; -fresh
starts over. -help after -preset, -config or -from shows what that sets.

SIGINT (Ctrl-C), SIGTERM and SIGHUP (a closed terminal) save the state and end the process
with status 130; a second one ends it at once, and the last checkpoint stays whole. Before
the first step there is nothing to save, and the first signal ends it at once.
`,
	Examples: []string{
		"lemnos train",
		"lemnos train -preset shakespeare-char -data tinyshakespeare.txt",
		"lemnos train -preset gpt2-124m -data corpus.train.bin -run_name first",
		"lemnos train -preset gpt2-124m -print-config >run.toml     # to be edited, for -config run.toml",
		"lemnos train -from ./SmolLM2-135M -data notes.txt    # fine-tune a Hugging Face model",
	},
	Flags: func() *flag.FlagSet {
		cfg, _ := train.BaseConfig("", "", nil) // the first preset is there
		fs, _ := flags(new(options), cfg)
		return fs
	},
	Values: values(),
	Run:    tool,
}

// tool runs the command and returns its exit status.
func tool(p *command.Process) int {
	stdout, stderr := progress.New(p.Stdout), progress.New(p.Stderr)
	defer stdout.Close() // also when something panics
	var in *interrupts
	report := func(err error) (status int) {
		stdout.Close()
		defer stderr.Close()
		status = command.Status(err, stderr)
		if !errors.Is(err, train.ErrInterrupted) {
			return status
		}
		fmt.Fprintf(stderr, "resume with:\n  %s\n", resumeCommand(p, in.begun.Load()))
		return command.Interrupted
	}
	notices := stderr
	if stdout.Live() && stderr.Live() { // one terminal, in all likelihood
		notices = stdout
	}
	in = &interrupts{exit: func(err error) { os.Exit(report(err)) }, notice: func(text string) { fmt.Fprintln(notices, text) }}
	return report(run(in, p, stdout))
}

func run(in *interrupts, p *command.Process, stdout *progress.Display) error {
	c, o, err := parse(p)
	if err != nil {
		return err
	}
	if o.print {
		return printConfig(p.Stdout, c)
	}
	if done, err := finished(c.Config, o, stdout); done || err != nil {
		return err
	}
	return work(in, p, c, o, stdout)
}

// work trains, and tells how to sample from what came of it.
func work(in *interrupts, p *command.Process, c *train.Composed, o options, stdout *progress.Display) (err error) {
	cfg := c.Config
	site, err := openPage(o, cfg, stdout)
	if err != nil {
		return err
	}
	defer func() { site.Close(err) }()
	exit := in.exit
	in.exit = func(err error) { site.Close(err); exit(err) }
	ctx := in.watch()
	dev, err := open(cfg.Device)
	if err != nil {
		return err
	}
	defer dev.Close()
	corpus, err := train.OpenData(ctx, cfg, beside(stdout.Listener(), site))
	if err != nil {
		return err
	}
	defer corpus.Close()
	model, start, err := train.ReserveModel(dev, cfg)
	if err != nil {
		return err
	}
	defer model.Params().Release()

	hooks := train.Hooks{Logger: stdout.Logger(), Fresh: o.fresh, DetectAnomaly: o.detect, Start: start, ConfigFile: c.File,
		Begun: func() { in.begun.Store(new(c.KeptFile())) }}
	hooks.Listen(stdout.Hooks(dev, cfg))
	if hooks.Outlook, err = outlook(ctx, dev, cfg, o.plan, stdout); err != nil {
		return err
	}
	s, err := newSampler(ctx, model, cfg, o, corpus.Tokenizer, stdout)
	if err != nil {
		return err
	}
	defer s.close()
	if s != nil {
		hooks.Listen(train.Hooks{Sample: s.print})
	}
	site.Watch(&hooks, dev.Info())
	err = besideWindow(o.window, cfg.RunName, &hooks, func() error { return train.Run(ctx, dev, cfg, model, corpus, hooks) })
	if errors.Is(err, errPlanned) {
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "done: checkpoints, metrics and loss.png are in %s\n", cfg.Dir())
	if cfg.TensorBoard {
		fmt.Fprintf(stdout, "see its curves with:\n  tensorboard --logdir %s\n", command.Quote(cfg.CkptDir))
	}
	if s != nil {
		fmt.Fprintf(stdout, "sample from it with:\n  %s\n", sampleCommand(p, o.prompt, cfg.Dir(), corpus.Tokenizer == nil))
	}
	return nil
}

func open(device string) (*vk.Device, error) {
	if device == "auto" {
		device = "" // leaves $LEMNOS_DEVICE its say
	}
	return vk.Open(&vk.Options{Device: device})
}

// finished says so if the run has nothing to do. Its error is why it can't go on.
func finished(cfg train.Config, o options, stdout io.Writer) (bool, error) {
	if err := cfg.CheckFolder(o.fresh, o.file); err != nil {
		return false, err
	}
	if !o.fresh {
		step, done, err := cfg.CheckResume()
		if done {
			fmt.Fprintf(stdout, "the run is at step %d already, nothing to do: total_steps is %d\n", step, cfg.TotalSteps)
		}
		if done || err != nil {
			return done, err
		}
	}
	if o.plan {
		return false, nil
	}
	if err := disk.Writable(cfg.Dir()); err != nil { // which a run itself sees after its data are read
		return false, fmt.Errorf("train: folder of the run: %w; choose another ckpt_dir", err)
	}
	return false, nil
}

// besideWindow trains, with the curves in a window if one is wanted. The
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
	hooks.Listen(train.Hooks{Plot: w.Plot})
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = run()
	}()
	w.Run(done)
	<-done
	return err
}
