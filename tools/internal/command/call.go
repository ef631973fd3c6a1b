package command

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
)

// tools is the folder of the tools, for go run from anywhere in a module that has it.
const tools = "github.com/lemnos-ml/lemnos/tools/"

// ofGoRun is the folder that the go command runs a program in: a temporary one, or
// since Go 1.24 its cache, where an executable is named after the hash of what it
// was built from.
var ofGoRun = regexp.MustCompile(`[/\\]go-build[0-9]*[/\\].*[/\\]exe[/\\]$|[/\\][0-9a-f]{2}[/\\][0-9a-f]{64}-d[/\\]$`)

// Call returns what calls a tool of this module in the way the process was called:
// as a command of lemnos, with go run, or as a program in the same folder. Where
// there is none it is go run too.
func (p *Process) Call(tool string) string {
	if p.Whole {
		return p.Program() + " " + tool
	}
	if tool == p.Name {
		return p.Program()
	}
	dir, base := filepath.Split(p.Called)
	program := dir + tool + filepath.Ext(base)
	if _, err := exec.LookPath(program); err != nil || ofGoRun.MatchString(dir) {
		return goRun(tool)
	}
	return Quote(program)
}

// Program returns what calls the program itself.
func (p *Process) Program() string {
	dir, _ := filepath.Split(p.Called)
	switch {
	case !ofGoRun.MatchString(dir):
		return Quote(p.Called)
	case p.Whole:
		return goRun("lemnos")
	}
	return goRun(p.Name)
}

// goRun is the command that builds and runs a tool, with the build tags of this one.
func goRun(tool string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-tags" && s.Value != "" {
				return "go run -tags " + Quote(s.Value) + " " + tools + tool
			}
		}
	}
	return "go run " + tools + tool
}

// plain are the characters that mean nothing to any shell.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@+"

// Quote writes a word so that a shell reads it as it is.
func Quote(word string) string {
	safe := plain
	if runtime.GOOS == "windows" {
		safe += `\`
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !strings.ContainsRune(safe, r) }) {
		return word
	}
	if runtime.GOOS == "windows" {
		return `"` + strings.ReplaceAll(word, `"`, `\"`) + `"`
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
