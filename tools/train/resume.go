package main

import (
	"flag"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/lemnos-ml/lemnos/train"
)

// toolCommand returns what calls a tool of this module in the way this process
// was called: with go run, or as a program in the same folder.
func toolCommand(called, tool string) string {
	dir, base := filepath.Split(called)
	if filepath.Base(dir) == "exe" && strings.Contains(dir, "go-build") {
		return "go run github.com/lemnos-ml/lemnos/tools/" + tool
	}
	if tool == "train" {
		return quote(called)
	}
	return quote(dir + tool + filepath.Ext(base))
}

// resumeCommand returns the command line that goes on with a run: the present
// one without -fresh.
func resumeCommand(called string, args []string) string {
	words := []string{toolCommand(called, "train")}
	fs, _ := flags(&options{}, train.Config{})
	for i := 0; i < len(args); i++ {
		name, _, assigned := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(args[i], "-"), "-"), "=")
		n := 1
		if f := fs.Lookup(name); f != nil && !assigned && !isBool(f) {
			n = 2
		}
		for _, word := range args[i:min(i+n, len(args))] {
			if name != "fresh" {
				words = append(words, quote(word))
			}
		}
		i += n - 1
	}
	return strings.Join(words, " ")
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// plain are the characters that mean nothing to any shell.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@+"

// quote writes a word so that a shell reads it as it is.
func quote(word string) string {
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
