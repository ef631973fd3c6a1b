package command

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestComplete(t *testing.T) {
	c := &Command{
		Flags: func() *flag.FlagSet {
			fs := Flags("tool")
			fs.Bool("bias", false, "add a `number`\nto each row")
			fs.Int("layers", 1, "blocks")
			fs.String("norm", "", "kind")
			fs.String("out", "", "file")
			return fs
		},
		Values:   map[string]Values{"norm": Words("layer\twith a mean", "rms"), "out": OrFiles("-")},
		Operands: OrFiles("a", "b"),
	}
	for _, x := range []struct {
		before, last string
		want         []string
		files        bool
	}{
		{"", "-", []string{"-bias\tadd a number", "-layers\tblocks", "-norm\tkind", "-out\tfile", "-help\ttell about the command"}, false},
		{"", "--no", []string{"--norm\tkind"}, false},
		{"-bias", "-l", []string{"-layers\tblocks"}, false},
		{"-norm", "", []string{"layer\twith a mean", "rms"}, false},
		{"-bias -norm", "r", []string{"rms"}, false},
		{"-norm", "-", nil, false},
		{"", "-norm=l", []string{"layer\twith a mean"}, false},
		{"", "-bias=t", []string{"true"}, false},
		{"-out", "", []string{"-"}, true},
		{"-layers", "", nil, false},
		{"", "-none=", nil, false},
		{"", "", []string{"a", "b"}, true},
		{"-bias", "b", []string{"b"}, true},
		{"-norm rms", "", []string{"a", "b"}, true},
		{"x", "-", nil, true},
		{"--", "a", []string{"a"}, true},
	} {
		words, files := c.Complete(strings.Fields(x.before), x.last)
		if !slices.Equal(words, x.want) || files != x.files {
			t.Errorf("%q, then %q: %q, files %v; want %q, %v", x.before, x.last, words, files, x.want, x.files)
		}
	}
	c.Operands = nil // what looks like one is part of a value, to a shell that splits it
	if words, _ := c.Complete([]string{"-out", "a", "b"}, "-norm=l"); len(words) != 1 {
		t.Errorf("behind a value in two parts: %q", words)
	}
	if words, files := (&Command{Flags: func() *flag.FlagSet { return Flags("tool") }}).Complete(nil, "x"); fmt.Sprint(words, files) != "[] false" {
		t.Errorf("without operands: %q, %v", words, files)
	}
}
