package command

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// tools is the folder of the tools, for go run from anywhere in a module that has it.
const tools = "github.com/lemnos-ml/lemnos/tools/"

// ofGoRun is the folder that the go command runs a program in: a temporary one, or
// since Go 1.24 its cache, where an executable is named after the hash of what it
// was built from.
var ofGoRun = regexp.MustCompile(`[/\\]go-build[0-9]*[/\\].*[/\\]exe[/\\]$|[/\\][0-9a-f]{2}[/\\][0-9a-f]{64}-d[/\\]$`)

// Call returns what calls a tool of this module in the way the process was called,
// as os.Args[0] tells: with go run, or as a program in the same folder. Where
// there is none it is go run too.
func Call(called, tool string) string {
	dir, base := filepath.Split(called)
	own := strings.TrimSuffix(base, filepath.Ext(base)) == tool
	if program := dir + tool + filepath.Ext(base); !ofGoRun.MatchString(dir) {
		if _, err := exec.LookPath(program); err == nil || own {
			return Quote(program)
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
