package traincmd

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/tools/internal/devicescmd"
	"github.com/lemnos-ml/lemnos/train"
)

// options are the flags that are not part of the configuration.
type options struct {
	preset string
	file   string
	fresh  bool
	detect bool
	window bool
	http   string // address of the page; "" for none
	print  bool   // the configuration, and end
	plan   bool   // tell what the run would do, and end
	sample int    // tokens of a sample at each evaluation
	prompt string // that samples continue
}

// flags declares all flags; defaults are what usage shows.
func flags(o *options, defaults train.Config) (*flag.FlagSet, *[]string) {
	fs := command.Flags("train")
	fs.StringVar(&o.preset, "preset", o.preset, "configuration to start from: "+strings.Join(train.Presets(), ", ")+"; empty: the first, or finetune where -from is set; with -config, what the file names as preset, or the defaults")
	fs.StringVar(&o.file, "config", o.file, "`file` of TOML or JSON that sets fields of the configuration, above the preset and below the flags; -: the standard input")
	fs.BoolVar(&o.print, "print-config", false, "print the whole configuration as a file for -config, with where each value comes from, and end")
	fs.BoolVar(&o.plan, "plan", false, "tell what the run would do, with its memory on the device in full, and end")
	fs.BoolVar(&o.window, "window", false, "show the curves in a window; needs a build with -tags window")
	fs.StringVar(&o.http, "http", "", "show the run in a browser while it trains: the address of its page, such as 127.0.0.1:0 for a free port")
	fs.BoolVar(&o.fresh, "fresh", false, "remove the files of an earlier run from the run's folder, once all else is checked, and start over")
	fs.BoolVar(&o.detect, "detect-anomaly", false, "run each step one operation after the other and name the first whose result is not finite; slow")
	fs.IntVar(&o.sample, "sample", 200, "tokens of text that the model prints at each evaluation; 0: none")
	fs.StringVar(&o.prompt, "prompt", "", "text that these samples continue")
	return fs, train.ConfigFlags(fs, defaults)
}

// values complete the values of flags.
func values() map[string]command.Values {
	all := map[string]command.Values{
		"preset": command.Words(train.Presets()...), "config": command.OrFiles(), "device": devicescmd.Names, "from": command.Runs,
		"data": command.OrFiles(), "tokenizer": command.OrFiles("bytes", "gpt2"), "ckpt_dir": command.OrFiles(), "http": command.Words("127.0.0.1:0", "127.0.0.1:8080"),
	}
	for field, words := range train.Choices() {
		all[field] = command.Words(words...)
	}
	return all
}

// parse starts from a preset; the file of -config overrides it, and the other flags both.
// -help after one of those, or after -from, shows what it sets.
func parse(p *command.Process, usage io.Writer) (c *train.Composed, o options, err error) {
	set, overrides := flags(&o, train.Config{})
	set.Usage = func() {
		cfg, err := train.BaseConfig(o.preset, o.file, *overrides)
		if err != nil {
			fmt.Fprintln(usage, err)
			return
		}
		shown, _ := flags(&options{preset: o.preset, file: o.file}, cfg)
		p.Help(usage, shown)
	}
	if err := p.ParseFlags(set); err != nil {
		return nil, o, err
	}
	if o.sample < 0 {
		return nil, o, command.Mistaken(fmt.Errorf("train: -sample is %d, want at least 0", o.sample))
	}
	c, err = train.Compose(o.preset, o.file, *overrides)
	if system := new(fs.PathError); !errors.As(err, &system) && !errors.Is(err, train.ErrDamaged) && !errors.Is(err, train.ErrUnsupported) && !errors.Is(err, train.ErrMismatched) {
		err = command.Mistaken(err) // and no file's
	}
	return c, o, err
}

// printConfig writes the configuration for -config.
func printConfig(w io.Writer, c *train.Composed) error {
	text, err := c.TOML()
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text)
	return err
}
