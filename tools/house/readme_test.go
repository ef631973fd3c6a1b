package house_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// README's training step is the Example of package nn, which compiles and runs.
func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../../nn/example_step_test.go")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)\n## Your own model, in Go\n.*?```go\n(.*?)```").FindStringSubmatch(string(readme))
	body := regexp.MustCompile(`(?s)\nfunc Example\(\) \{\n(.*?)\t// Output:`).FindStringSubmatch(string(source))
	if shown == nil || body == nil {
		t.Fatal("README.md has no training step, or nn/example_step_test.go no Example with an output")
	}
	want := strings.Split(body[1], "\n")
	for i, line := range want {
		want[i] = strings.TrimPrefix(line, "\t")
	}
	if got := strings.Split(shown[1], "\n"); strings.Join(got, "\n") != strings.Join(want, "\n") {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("README.md differs from the Example of package nn, line %d:\n  %s\n  %s", i+1, got[i], want[i])
			}
		}
		t.Fatalf("README.md shows %d lines, the Example of package nn has %d", len(got), len(want))
	}
}
