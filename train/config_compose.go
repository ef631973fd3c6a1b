package train

import (
	"errors"
	"maps"
	"path/filepath"
	"strings"
)

// Composed is a configuration and where it comes from.
type Composed struct {
	Config
	// File is the file that was read, as it was; nil for none.
	File []byte
	// Origins tell of each field where its value comes from, in words.
	Origins map[string]string

	preset string // "" for the defaults
	file   *givenFile
}

// KeptFile is where the run's folder keeps File; "" without one.
func (c *Composed) KeptFile() string {
	if c.File == nil {
		return ""
	}
	return filepath.Join(c.Dir(), givenName(c.File))
}

// BaseConfig returns what [Configure] starts from, the file included.
func BaseConfig(preset, file string, assignments []string) (Config, error) {
	c, err := compose(preset, file, assignments)
	if err != nil {
		return Config{}, err
	}
	return c.Config, nil
}

// Configure is [Compose] for those who ask for the configuration alone.
func Configure(preset, file string, assignments []string) (Config, error) {
	c, err := Compose(preset, file, assignments)
	if err != nil {
		return Config{}, err
	}
	return c.Config, nil
}

// Compose puts a configuration together as command train does: a preset, below a file of
// TOML or JSON ("-" is the standard input), below assignments as [Config.Override] takes
// them; either may be "". Without a preset, asked for or named in the file, a file is on
// top of the defaults, and no file means the first preset; where file or assignments set
// from, preset finetune takes the place of either, unless it is a file of torch.save,
// which does not say its structure. Of others the structure stands between the preset and
// the file, see [Config.ConfigureFrom].
func Compose(preset, file string, assignments []string) (*Composed, error) {
	c, err := compose(preset, file, assignments)
	if err != nil {
		return nil, err
	}
	set := c.file.keys()
	if err := c.change("flag", keys(assignments), func() error { return c.overrideAll(assignments, set) }); err != nil {
		return nil, err
	}
	if source := c.source(); isTorch(source) {
		if err := checkTorch(source); err != nil {
			return nil, err
		}
	} else if c.From != "" {
		if err := c.startFrom(source, set, assignments); err != nil {
			return nil, err
		}
	}
	if file == "-" && c.Data == "-" {
		return nil, errors.New("train: the configuration is the standard input, and data is too: one of both has to be a file")
	}
	if c.preset == "finetune" && c.From == "" {
		return nil, errors.New("train: preset finetune is for a model that is there: name it with from")
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// compose is what the assignments are on top of.
func compose(preset, file string, assignments []string) (*Composed, error) {
	from := ""
	for _, a := range assignments {
		if value, ok := strings.CutPrefix(a, "from="); ok {
			from = value
		}
	}
	c := &Composed{}
	if file != "" {
		var err error
		if c.file, err = readGiven(file); err != nil {
			return nil, err
		}
		c.File = c.file.data
	}
	return c, c.compose(preset, from)
}

// compose puts the file on top of a preset; from is the model to start from that the
// assignments name, "" for none.
func (c *Composed) compose(preset, from string) (err error) {
	switch {
	case c.file != nil:
		if preset, err = c.file.base(preset, from); err != nil {
			return err
		}
	case preset == "" && tunes(from):
		preset = "finetune"
	case preset == "":
		preset = presets[0].name
	}
	c.preset = preset
	origin := "default"
	if c.Config = DefaultConfig(); preset != "" {
		origin = "preset " + preset
		if c.Config, err = Preset(preset); err != nil {
			return err
		}
	}
	c.Origins = map[string]string{}
	for _, f := range fields {
		c.Origins[f.name] = origin
	}
	if c.file == nil {
		return nil
	}
	return c.change(c.file.origin(), c.file.keys(), func() error { return c.file.apply(&c.Config) })
}

// change notes the origin of the fields that f is told to set, and of those that it
// changes beside them.
func (c *Composed) change(origin string, set map[string]bool, f func() error) error {
	before := c.Config
	if err := f(); err != nil {
		return err
	}
	for _, f := range fields {
		switch changed := !f.of(&before).Equal(f.of(&c.Config)); {
		case set[f.name]:
			c.Origins[f.name] = origin
		case changed && f.name == "warmup_iters":
			c.Origins[f.name] = "its share of total_steps"
		case changed:
			c.Origins[f.name] = "what suits optimizer " + c.Optimizer
		}
	}
	return nil
}

// startFrom puts the structure of the model at path below the file and the assignments,
// which may not say something else.
func (c *Composed) startFrom(path string, set map[string]bool, assignments []string) error {
	asked, origins := c.Config, maps.Clone(c.Origins)
	if err := c.ConfigureFrom(path); err != nil {
		return err
	}
	given := keys(assignments)
	maps.Copy(given, set)
	if err := asked.checkStructure(c.Config, given, path); err != nil {
		return err
	}
	source := c.Config
	for _, f := range fields { // again what was given, on top of the model
		if given[f.name] {
			f.of(&c.Config).Set(f.of(&asked))
		}
	}
	for _, f := range fields {
		if !f.of(&c.Config).Equal(f.of(&asked)) {
			origins[f.name] = "the model of from"
		}
	}
	c.Origins = origins
	return c.checkPositions(source, path)
}
