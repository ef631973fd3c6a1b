package train

import (
	"encoding/json"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/hostile"
)

var hostileConfig = hostile.Format{Name: "config", Read: readHostileConfig, Limit: 256, Seeds: configSeeds}

// What is read of a configuration and is possible can be written and read again.
func readHostileConfig(t testing.TB, data []byte) error {
	c := DefaultConfig()
	if _, err := c.parse(data); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return fault.Unsupported(err) // as ReadConfig does
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	again := DefaultConfig()
	if _, err := again.parse(text); err != nil || again != c {
		t.Fatalf("%+v was written as %s and read as %+v, %v", c, text, again, err)
	}
	if rate := c.schedule().At(c.TotalSteps / 2); !(rate >= 0 && rate <= max(c.LRMax, c.LRMin)*1.001) {
		t.Fatalf("%+v: the learning rate is %v", c, rate)
	}
	return nil
}

func configSeeds(t testing.TB) [][]byte {
	whole, err := json.Marshal(finetune())
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{whole, []byte(`{"total_steps": 100, "betas": [0.9, 0.999], "grad_clip_norm": "none"}`), []byte("{\n\"seed\": 1,\n \"lr_max\": NaN}"), []byte(`{"from": "x"}`)}
}

func TestSpec6HostileConfigs(t *testing.T) { hostileConfig.Test(t) }

// FuzzConfig reads mutated configurations of runs.
func FuzzConfig(f *testing.F) { hostileConfig.Fuzz(f) }
