package traincmd

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/tools/internal/devicescmd"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/page"
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
	fs.Func("config", "`file` of TOML or JSON that sets fields of the configuration, above the preset and below the flags; -: the standard input", func(name string) error {
		if o.file != "" { // two do not become one, and the last would win without a word
			return fmt.Errorf("there is one file, and %s is named before", o.file)
		}
		o.file = name
		return nil
	})
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
func parse(p *command.Process) (c *train.Composed, o options, err error) {
	set, overrides := flags(&o, train.Config{})
	var unknown error // what -help should show the defaults of
	set.Usage = func() {
		var cfg train.Config
		if cfg, unknown = train.BaseConfig(o.preset, o.file, *overrides); unknown == nil {
			shown, _ := flags(&options{preset: o.preset}, cfg)
			p.Help(p.Stdout, shown)
		}
	}
	if err := p.ParseFlags(set); unknown != nil || err != nil {
		return nil, o, cmp.Or(blame(unknown), err)
	}
	if o.sample < 0 {
		return nil, o, command.Mistaken(fmt.Errorf("train: -sample is %d, want at least 0", o.sample))
	}
	if o.http != "" {
		if err := page.CheckAddress(o.http); err != nil {
			return nil, o, command.Mistaken(err)
		}
	}
	c, err = train.Compose(o.preset, o.file, *overrides)
	return c, o, blame(err)
}

// blame makes an error of the configuration one of the arguments, unless it is a file's.
func blame(err error) error {
	if system := new(fs.PathError); errors.As(err, &system) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, train.ErrDamaged) || errors.Is(err, train.ErrUnsupported) || errors.Is(err, train.ErrMismatched) {
		return err
	}
	return command.Mistaken(err)
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
