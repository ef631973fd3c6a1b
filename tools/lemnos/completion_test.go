//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// installed is where package bash-completion of most distributions is.
const installed = "/usr/share/bash-completion/bash_completion"

// A shell in a terminal completes what is typed before a tab: the line that it then runs
// is seen. With package bash-completion and without it.
func TestBashCompletes(t *testing.T) {
	if _, err := exec.LookPath("script"); err != nil { // of util-linux
		t.Skip(err)
	}
	dir := t.TempDir()
	script := lemnos("completion", "bash")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	write("completion.bash", script.out)
	write("corpus.txt", "")
	write("lemnos", fmt.Sprintf("#!/bin/sh\ncase $1 in __complete*) %s=1 exec %q \"$@\";; esac\nprintf '<%%s>' \"$@\" >>ran; echo >>ran\n", asTool, os.Args[0]))
	for _, setup := range []string{"", installed} {
		if _, err := os.Stat(setup); setup != "" && err != nil {
			t.Logf("without %v", err)
			continue
		}
		write("rc", "PS1='$ '\nPATH=$PWD:$PATH\n"+strings.Repeat("source "+setup+"\n", min(1, len(setup)))+"source completion.bash\n")
		for _, c := range []struct{ typed, runs string }{
			{"lemnos tra\t-prese\tgp\t-tied", "<train><-preset><gpt2-124m><-tied>"},
			{"lemnos train -preset=sha\t", "<train><-preset=shakespeare-char>"},
			{"lemnos train --optim\tmu\t-data cor\t", "<train><--optimizer><muon><-data><corpus.txt>"},
			{"lemnos train -run_name 'a b' -norm=lay\t -bia\t", "<train><-run_name><a b><-norm=layernorm><-bias>"},
			{"lemnos train -run_name a:b -norm rm\t", "<train><-run_name><a:b><-norm><rmsnorm>"},
			{"lemnos tok\tcor\t", "<tokenize><corpus.txt>"},
			{"lemnos hel\tdev\t", "<help><devices>"},
		} {
			os.Remove(filepath.Join(dir, "ran"))
			shell := exec.Command("script", "-q", "-c", "bash --noprofile --rcfile rc -i", "/dev/null")
			shell.Dir, shell.Env = dir, append(os.Environ(), "TERM=dumb", "INPUTRC=/dev/null", "HISTFILE=")
			shell.Stdin = strings.NewReader(c.typed + "\nexit\n")
			screen, err := shell.CombinedOutput()
			ran, _ := os.ReadFile(filepath.Join(dir, "ran"))
			if strings.TrimSpace(string(ran)) != c.runs {
				t.Errorf("%q (bash-completion %q): ran %s, %v; want %s; the terminal showed\n%s", c.typed, setup, ran, err, c.runs, screen)
			}
		}
	}
}

// The other shells' scripts are as those parse them, where they are installed.
func TestScriptsParse(t *testing.T) {
	for shell, args := range map[string][]string{"bash": {"-n"}, "zsh": {"-n"}, "fish": {"--no-execute"}} {
		script := lemnos("completion", shell)
		if script.status != 0 || !strings.Contains(script.out, "__complete") {
			t.Errorf("%s: %+v", shell, script)
			continue
		}
		file := filepath.Join(t.TempDir(), shell)
		if err := os.WriteFile(file, []byte(script.out), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := exec.LookPath(shell); err != nil {
			t.Log(err)
			continue
		}
		if out, err := exec.Command(shell, append(args, file)...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
	}
	if script := lemnos("completion", "powershell"); !strings.Contains(script.out, "Register-ArgumentCompleter -CommandName 'lemnos'") {
		t.Errorf("powershell: %+v", script)
	}
}
