package train

import (
	"fmt"
	"strings"
	"unicode"
)

// sections are the parts of a configuration, by their first fields.
var sections = map[string]string{
	"model":       "the model",
	"from":        "what it is trained on",
	"total_steps": "how long, and how often what",
	"optimizer":   "how each step changes it",
	"device":      "what it runs on",
	"ckpt_dir":    "where it goes",
}

const commentWidth = 100 // columns of comments that are written anew

// TOML writes the whole configuration as a file that [Compose] reads as the same one, with
// what each field means and where its value comes from as comments. Those begin with
// "#:"; others are the file's that was read, each with its field.
func (c *Composed) TOML() (string, error) {
	var b strings.Builder
	comment(&b, `A whole configuration, for -config. Comments like this one, with a colon, are written anew by -print-config, and all others are kept.`)
	kept := map[string][]string{} // by key
	const end = "\x00"            // which is none
	if c.file != nil {
		for _, s := range c.file.statements {
			if s.at < 0 {
				s.key = end
			}
			for _, text := range s.comments {
				if !strings.HasPrefix(text, written) {
					kept[s.key] = append(kept[s.key], text)
				}
			}
		}
	}
	lines := func(key string) {
		for _, text := range kept[key] {
			fmt.Fprintln(&b, text)
		}
	}
	lines("preset") // which is in the values now
	for _, f := range fields {
		if title, ok := sections[f.name]; ok {
			fmt.Fprintf(&b, "\n%s ---- %s ----\n", written, title)
		}
		value, err := tomlValue(f.of(&c.Config).Interface())
		if err != nil {
			return "", fmt.Errorf("train: %s %w", f.name, err)
		}
		b.WriteByte('\n')
		comment(&b, f.usage)
		lines(f.name)
		fmt.Fprintf(&b, "%s = %s", f.name, value)
		if origin := c.Origins[f.name]; origin != "" {
			if strings.ContainsFunc(origin, func(r rune) bool { return !unicode.IsPrint(r) }) {
				origin = fmt.Sprintf("%q", origin)
			}
			fmt.Fprintf(&b, "  %s %s", written, origin)
		}
		b.WriteByte('\n')
	}
	if len(kept[end]) > 0 {
		b.WriteByte('\n')
		lines(end)
	}
	return b.String(), nil
}

// comment writes a text as lines of a comment.
func comment(b *strings.Builder, text string) {
	line := written
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > commentWidth {
			fmt.Fprintln(b, line)
			line = written
		}
		line += " " + word
	}
	fmt.Fprintln(b, line)
}
