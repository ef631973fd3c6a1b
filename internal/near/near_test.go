package near

import (
	"slices"
	"testing"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"abc", "abc", 0}, {"train", "trian", 1}, {"abcd", "badc", 2}, {"ab", "ba", 1}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	names := []string{"bias", "total_steps", "steps_more", "lr_max"}
	for name, want := range map[string][]string{
		"bais": {"bias"}, "steps": {"steps_more", "total_steps"}, "LR-Max": {"lr_max"}, "zzzz": nil, "": nil,
	} {
		if got := Names(names, name); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
