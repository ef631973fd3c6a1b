package traincmd

import (
	"runtime"
	"testing"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

func TestResumeCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("quotes are the Unix shell's")
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"./bin/train", "-fresh", "-data", "my text.txt"}, `./bin/train -data 'my text.txt'`},
		{[]string{"train", "-fresh=true", "--fresh", "-fresh=1", "--fresh=t", "-layers=2"}, `train -layers=2`},
		{[]string{"/opt/my tools/train", "-run_name", "-fresh", "-tied", "-fresh"}, `'/opt/my tools/train' -run_name -fresh -tied`},
		{[]string{"/tmp/go-build123/b001/exe/train", "-prompt", "it's $HOME", "-fresh"}, `go run github.com/lemnos-ml/lemnos/tools/train -prompt 'it'\''s $HOME'`},
		{[]string{"train", "-prompt", "", "-data", "[a]^%.txt"}, `train -prompt '' -data '[a]^%.txt'`},
		{[]string{"train", "-run_name", "fresh", "-prompt=-fresh"}, `train -run_name fresh -prompt=-fresh`},
	} {
		if got := resumeCommand(&command.Process{Command: Command, Called: c.args[0], Args: c.args[1:]}, nil); got != c.want {
			t.Errorf("%q: %s, want %s", c.args, got, c.want)
		}
	}
	kept := "runs/a b/given.toml"
	for _, c := range []struct{ args, want string }{
		{"-config - -layers 2 -fresh", "train -config 'runs/a b/given.toml' -layers 2"},
		{"--config=- -data -", "train -config 'runs/a b/given.toml' -data -"},
		{"-config own.toml", "train -config own.toml"},
	} {
		if got := resumeCommand(of(c.args), &kept); got != c.want {
			t.Errorf("%q: %s, want %s", c.args, got, c.want)
		}
	}
}
