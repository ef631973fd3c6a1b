package train

import (
	"slices"
	"strings"
	"testing"
)

func TestPresets(t *testing.T) {
	want := []string{"tiny", "shakespeare-char", "gpt2-124m", "smollm2-135m", "finetune"}
	if got := Presets(); !slices.Equal(got, want) {
		t.Errorf("presets %q, want %q", got, want)
	}
	for _, name := range want {
		c, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.RunName != name || c.Model != "transformer" {
			t.Errorf("%s: a %s in the folder %s", name, c.Model, c.RunName)
		}
	}
	_, err := Preset("gpt3")
	if err == nil || !strings.Contains(err.Error(), `"gpt3"`) || !strings.Contains(err.Error(), "smollm2-135m") {
		t.Errorf("an unknown preset: %v, want an error that lists the known ones", err)
	}
}
