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

// terminals are shells as they start in a terminal, with what sets them up.
var terminals = []struct{ name, command, file, setup string }{
	{"bash", "bash --noprofile --rcfile rc -i", "rc", "source completion\n"},
	{"bash with package bash-completion", "bash --noprofile --rcfile rc -i", "rc", "source /usr/share/bash-completion/bash_completion\nsource completion\n"},
	{"zsh", "zsh -i", ".zshrc", "autoload -Uz compinit\ncompinit -u\nsource completion\n"},
	{"fish", "fish -i", "config/fish/config.fish", "source completion\n"},
}

// A shell in a terminal completes what is typed before a tab: the line that it then runs
// is seen.
func TestShellsComplete(t *testing.T) {
	if _, err := exec.LookPath("script"); err != nil { // of util-linux
		t.Skip(err)
	}
	for _, terminal := range terminals {
		t.Run(terminal.name, func(t *testing.T) {
			shell, _, _ := strings.Cut(terminal.command, " ")
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip(err)
			}
			package_, _, _ := strings.Cut(strings.TrimPrefix(terminal.setup, "source "), "\n")
			if _, err := os.Stat(package_); err != nil && filepath.IsAbs(package_) {
				t.Skip(err)
			}
			dir := t.TempDir()
			write := func(name, text string) {
				t.Helper()
				name = filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o777); err != nil {
					t.Fatal(err)
				}
			}
			write("completion", lemnos("completion", shell).out)
			write("corpus.txt", "")
			// Where this is missing fish starts a program that outlives it, and writes there from all manual pages.
			write("data/fish/generated_completions/none", "")
			write(terminal.file, terminal.setup)
			write("lemnos", fmt.Sprintf("#!/bin/sh\ncase $1 in __complete*) %s=1 exec %q \"$@\";; esac\nprintf '<%%s>' \"$@\" >>ran; echo >>ran\n", asTool, os.Args[0]))
			for _, c := range []struct{ typed, runs string }{
				{"lemnos tra\t-prese\tgp\t-tied", "<train><-preset><gpt2-124m><-tied>"},
				{"lemnos train -run_name 'a b' -norm=lay\t -bia\t", "<train><-run_name><a b><-norm=layernorm><-bias>"},
				{"lemnos train -run_name a:b --optim\tmu\t-data cor\t", "<train><-run_name><a:b><--optimizer><muon><-data><corpus.txt>"},
				{"lemnos hel\tdev\t", "<help><devices>"},
			} {
				os.Remove(filepath.Join(dir, "ran"))
				run := exec.Command("script", "-q", "-c", terminal.command, "/dev/null")
				run.Dir, run.Env = dir, append(os.Environ(), "TERM=dumb", "INPUTRC=/dev/null", "HISTFILE=", "ZDOTDIR="+dir, "XDG_CONFIG_HOME="+dir+"/config", "XDG_DATA_HOME="+dir+"/data", "HOME="+dir, "PATH="+dir+":"+os.Getenv("PATH"))
				run.Stdin = strings.NewReader(c.typed + "\nexit\n")
				screen, err := run.CombinedOutput()
				ran, _ := os.ReadFile(filepath.Join(dir, "ran"))
				if strings.TrimSpace(string(ran)) != c.runs {
					t.Errorf("%q: ran %s, %v; want %s; the terminal showed\n%s", c.typed, ran, err, c.runs, screen)
				}
			}
		})
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
