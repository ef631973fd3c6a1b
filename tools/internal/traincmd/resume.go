package traincmd

import (
	"strings"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train"
)

// resumeCommand returns the command line that goes on with a run: the present
// one without -fresh, and with the file that the run's folder keeps, if it
// does, in place of a configuration from the standard input.
func resumeCommand(p *command.Process, kept *string) string {
	words := []string{p.Call("train")}
	fs, _ := flags(&options{}, train.Config{})
	for i := 0; i < len(p.Args); i++ {
		name, _, assigned := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(p.Args[i], "-"), "-"), "=")
		n := 1
		if f := fs.Lookup(name); f != nil && !assigned && !command.IsBool(f) {
			n = 2
		}
		given := p.Args[i:min(i+n, len(p.Args))]
		i += n - 1
		if name == "fresh" {
			continue
		}
		if value := given[len(given)-1]; name == "config" && kept != nil && (value == "-" || assigned && strings.HasSuffix(value, "=-")) {
			given = []string{"-config", *kept}
		}
		for _, word := range given {
			words = append(words, command.Quote(word))
		}
	}
	return strings.Join(words, " ")
}

// sampleCommand returns the command line that continues a prompt with the model of a
// run's folder; where what its ids mean isn't known, a prompt of ids.
func sampleCommand(p *command.Process, prompt, dir string, ids bool) string {
	words := []string{p.Call("sample")}
	if ids {
		words = append(words, "-tokenizer", "ids")
	}
	if prompt != "" {
		words = append(words, "-prompt", command.Quote(prompt))
	}
	return strings.Join(append(words, command.Quote(dir)), " ")
}
