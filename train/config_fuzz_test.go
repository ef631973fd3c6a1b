package train

import (
	"encoding/json"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/hostile"
)

var hostileConfig = hostile.Format{Name: "config", Read: readHostileConfig, Accepted: rewritesConfig, Limit: 256, Seeds: configSeeds}

func readHostileConfig(t testing.TB, data []byte) error {
	c, err := composeData(data)
	if err != nil {
		return err
	}
	return fault.Unsupported(c.Validate()) // as ReadConfig does
}

// rewritesConfig: what is read of a configuration and is possible can be written and read
// again, as JSON and as TOML.
func rewritesConfig(t testing.TB, data []byte) {
	c, err := composeData(data)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	toml, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	for _, written := range []string{string(text), toml} {
		if again, err := composeData([]byte(written)); err != nil || again.Config != c.Config {
			t.Fatalf("%+v was written as %s and read as %+v, %v", c, written, again, err)
		}
	}
	if rate := c.schedule().At(c.TotalSteps / 2); !(rate >= 0 && rate <= max(c.LRMax, c.LRMin)*1.001) {
		t.Fatalf("%+v: the learning rate is %v", c, rate)
	}
}

// composeData is compose of a file with that content.
func composeData(data []byte) (*Composed, error) {
	f := &givenFile{path: "config", data: data}
	if err := f.named(f.parse()); err != nil {
		return nil, err
	}
	c := &Composed{file: f}
	return c, c.compose("", "")
}

func configSeeds(t testing.TB) [][]byte {
	whole, err := json.Marshal(finetune())
	if err != nil {
		t.Fatal(err)
	}
	toml, err := (&Composed{Config: finetune()}).TOML()
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{whole, []byte(`{"total_steps": 100, "betas": [0.9, 0.999], "grad_clip_norm": "none"}`), []byte("{\n\"seed\": 1,\n \"lr_max\": NaN}"), []byte(`{"from": "x"}`),
		[]byte(toml), []byte("# mine\npreset = 'tiny' # small\n\"seed\" = 0x10\nbetas = [ 0.9, # first\n0.95,\n]\ndata = \"\"\"a\nb\"\"\"\n# end"),
		[]byte("grad_clip_norm = inf"), []byte("[model]\na.b = {c = [[[1]]]}")}
}

func TestSpec6HostileConfigs(t *testing.T) { hostileConfig.Test(t) }

// FuzzConfig reads mutated configurations of runs.
func FuzzConfig(f *testing.F) { hostileConfig.Fuzz(f) }
