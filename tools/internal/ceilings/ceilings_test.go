package ceilings

import (
	"os"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

func TestMain(m *testing.M) { vktest.Main(m) }

// What was measured is found again, and a busy machine does not lower it.
func TestKeep(t *testing.T) {
	dev := vktest.OpenWith(t, &vk.Options{CacheDir: t.TempDir()})
	if c := Of(dev); c.Copy != 0 || c.FMA != 0 || c.Matrix != nil {
		t.Errorf("before it was measured: %+v", c)
	}
	for _, c := range []Ceilings{{Copy: 10, FMA: 100, Matrix: map[string]float64{"f16": 1000}}, {Copy: 8, FMA: 120}} {
		if err := c.Keep(dev); err != nil {
			t.Fatal(err)
		}
	}
	if c := Of(dev); c.Copy != 10 || c.FMA != 120 || c.Matrix["f16"] != 1000 {
		t.Errorf("kept are %+v", c)
	}
	if err := os.WriteFile(dev.CachePath(file), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if c := Of(dev); c.Copy != 0 {
		t.Errorf("a damaged file has %+v", c)
	}
}

// Where the ceiling of one operation is not known there is none for all.
func TestLeastOf(t *testing.T) {
	counts := []ops.OpCount{{Op: "linear", Bytes: 20, FLOPs: 3000}, {Op: "add", Bytes: 40}, {Op: "nothing"}}
	cores := func(op string) string { return map[string]string{"linear": "f16"}[op] }
	c := Ceilings{Copy: 10, FMA: 100, Matrix: map[string]float64{"f16": 1000}}
	if got := c.LeastOf(counts, cores); got != 3+4 {
		t.Errorf("%v ns, want 7", got)
	}
	for _, c := range []Ceilings{{}, {Copy: 10, FMA: 100}, {FMA: 100, Matrix: c.Matrix}} {
		if got := c.LeastOf(counts, cores); got != 0 {
			t.Errorf("%+v: %v ns, want 0", c, got)
		}
	}
}
