package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lemnos-ml/lemnos/internal/near"
	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

// run runs the command that the first argument names, and returns the status to exit with.
func run(p *command.Process) (status int) {
	cobra.MousetrapHelpText = "" // else Windows' Run dialog, and Wine, could start no command
	root := node(&command.Command{Name: "lemnos", Flags: func() *flag.FlagSet { return flags(new(bool)) }}, func(args []string) {
		status = command.Status(bare(p, args), p.Stderr)
	})
	add := func(c *command.Command) *cobra.Command {
		n := node(c, func(args []string) {
			q := *p
			q.Command, q.Args = c, args
			status = c.Run(&q)
		})
		root.AddCommand(n)
		return n
	}
	for _, c := range commands {
		add(c)
	}
	add(completion(root))
	root.SetHelpCommand(add(help()))
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetArgs(append([]string{}, p.Args...)) // of nil cobra makes those of the process
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	if err := root.Execute(); err != nil {
		return command.Status(err, p.Stderr)
	}
	return status
}

// node is a command as cobra has it. Flags are left to the command, which reads them as
// package flag does.
func node(c *command.Command, run func(args []string)) *cobra.Command {
	n := &cobra.Command{
		Use:                c.Name,
		Short:              c.Short,
		Args:               cobra.ArbitraryArgs,
		DisableFlagParsing: true,
		SilenceErrors:      true,
		SilenceUsage:       true,
		Run:                func(_ *cobra.Command, args []string) { run(args) },
		ValidArgsFunction: func(_ *cobra.Command, args []string, last string) ([]string, cobra.ShellCompDirective) {
			words, files := c.Complete(args, last)
			if files {
				return words, cobra.ShellCompDirectiveDefault
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
	}
	n.Flags().Bool("help", false, "") // else cobra completes one of its own
	n.Flags().MarkHidden("help")
	return n
}

// flags are those of the program without a command.
func flags(version *bool) *flag.FlagSet {
	fs := command.Flags("lemnos")
	fs.BoolVar(version, "version", false, "print the version of the program")
	return fs
}

// bare is the program without a command, or with one that there is not.
func bare(p *command.Process, args []string) error {
	var version bool
	fs := flags(&version)
	fs.Usage = func() { overview(p) }
	q := *p
	q.Args = args
	err := q.Parse(fs)
	switch {
	case err != nil:
		return err
	case slices.Contains(names(), fs.Arg(0)): // behind --, where cobra looks for none
		return command.Misused(fs, "%s is a command, which comes first", fs.Arg(0))
	case fs.NArg() > 0:
		return unknown(fs.Arg(0))
	case version:
		_, err := fmt.Fprintln(p.Stdout, "lemnos", command.Version())
		return err
	}
	overview(p)
	return nil
}

// unknown is the error of a command that there is not.
func unknown(name string) error {
	if strings.TrimSpace(name) == "" {
		name = strconv.Quote(name)
	}
	text := "lemnos: there is no command " + name
	if near := near.Names(append(names(), "-version"), name); len(near) > 0 {
		text += ", but " + strings.Join(near, ", ")
	}
	return command.Mistaken(errors.New(text + "; help lists the commands"))
}

// names are those of the commands.
func names() (all []string) {
	for _, c := range commands {
		all = append(all, c.Name)
	}
	return append(all, "completion", "help")
}

// overview writes what the program does.
func overview(p *command.Process) {
	fmt.Fprintf(p.Stdout, "Lemnos trains language models on any GPU with a Vulkan driver.\n\nusage: %s command [flags] [arguments]\n\n", p.Program())
	for _, c := range commands {
		fmt.Fprintf(p.Stdout, "  %-11s %s\n", c.Name, c.Short)
	}
	fmt.Fprintf(p.Stdout, `  completion  Write a script that completes commands, flags and values in a shell
  help        Tell about a command, as its -help does

Begin with "%[1]s train": it needs no data, and minutes. -version prints the version.
%[2]s
`, p.Program(), command.Statuses)
}

// help is the command that tells about another.
func help() *command.Command {
	c := &command.Command{
		Name: "help", Usage: "[command]", Short: "Tell about a command, as its -help does", Examples: []string{"lemnos help train"},
		Flags: func() *flag.FlagSet { return command.Flags("help") }, Operands: command.Words(names()...),
	}
	c.Run = func(p *command.Process) int {
		fs := c.Flags()
		if err := p.ParseOperands(fs, 0, 1, ""); err != nil {
			return command.Status(err, p.Stderr)
		}
		if fs.NArg() == 0 {
			overview(p)
			return 0
		}
		if !slices.Contains(names(), fs.Arg(0)) {
			return command.Status(unknown(fs.Arg(0)), p.Stderr)
		}
		q := *p
		q.Args = []string{fs.Arg(0), "-help"}
		return run(&q)
	}
	return c
}
