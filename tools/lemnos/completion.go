package main

import (
	_ "embed"
	"flag"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

// words are the functions of package bash-completion that cobra's script for bash calls,
// for where there is none.
//
//go:embed words.bash
var words string

// shells are those that there are scripts for.
var shells = []string{"bash", "zsh", "fish", "powershell"}

// completion is the command that writes a shell's script, which calls the program to complete.
func completion(root *cobra.Command) *command.Command {
	return &command.Command{
		Name:  "completion",
		Usage: strings.Join(shells, "|"),
		Short: "Write a script that completes commands, flags and values in a shell",
		Long: `The script asks the program, which has to be found by its name. For good:

  bash        lemnos completion bash >~/.local/share/bash-completion/completions/lemnos
              or the first example in ~/.bashrc, where package bash-completion is missing
  zsh         lemnos completion zsh >"${fpath[1]}/_lemnos"
  fish        lemnos completion fish >~/.config/fish/completions/lemnos.fish
  powershell  lemnos completion powershell >>$PROFILE
`,
		Examples: []string{"source <(lemnos completion bash)    # this shell alone"},
		Flags:    func() *flag.FlagSet { return command.Flags("completion") },
		Operands: command.Words(shells...),
		Run: func(p *command.Process) int {
			fs := command.Flags("completion")
			if err := p.ParseOperands(fs, 1, 1, "a shell: "+strings.Join(shells, ", ")); err != nil {
				return command.Status(err, p.Stderr)
			}
			if !slices.Contains(shells, fs.Arg(0)) {
				return command.Status(command.Misused(fs, "%q is no shell, want %s", fs.Arg(0), strings.Join(shells, ", ")), p.Stderr)
			}
			return command.Status(script(root, fs.Arg(0), p.Stdout), p.Stderr)
		},
	}
}

func script(root *cobra.Command, shell string, w io.Writer) error {
	switch shell {
	case "zsh":
		return root.GenZshCompletion(w)
	case "fish":
		return root.GenFishCompletion(w, true)
	case "powershell":
		return root.GenPowerShellCompletionWithDesc(w)
	}
	if _, err := io.WriteString(w, words); err != nil {
		return err
	}
	return root.GenBashCompletionV2(w, true)
}
