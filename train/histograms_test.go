package train

import (
	"context"
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/internal/eventtest"
	"github.com/lemnos-ml/lemnos/train/internal/output"
)

// Values that are not finite are counted beside the histogram of the others, which there is
// none of where all are such.
func TestHistogramsOfNonFiniteTensors(t *testing.T) {
	ctx, dev := context.Background(), vktest.Open(t)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	var h histograms
	for tag, values := range map[string][]float32{"some": {1, nan, -inf, 3, 2}, "all": {nan, nan, nan, inf, nan}} {
		for _, dt := range []ops.DType{ops.F32, ops.BF16, ops.F16} {
			x, err := ops.NewTensor(dev, dt, 5)
			if err != nil {
				t.Fatal(err)
			}
			defer x.Release()
			if err := ops.Upload(ctx, x, values); err != nil {
				t.Fatal(err)
			}
			if err := h.add(ctx, tag+"/"+dt.String(), x, 0.5); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	log := &eventLog{files: output.OS{}, dir: dir}
	if err := log.add(1, h.values...); err != nil {
		t.Fatal(err)
	}
	if err := log.finish(); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, e := range eventtest.Run(t, dir) {
		for _, v := range e.Values {
			if v.Scalar != nil {
				got[v.Tag] = float64(*v.Scalar)
			} else {
				got[v.Tag] = v.Histogram.Sum
			}
		}
	}
	for _, dt := range []string{"f32", "bf16", "f16"} {
		for tag, want := range map[string]float64{"some/": 3, "not_finite/some/": 2, "not_finite/all/": 5} {
			if got[tag+dt] != want {
				t.Errorf("%s%s is %v, want %v", tag, dt, got[tag+dt], want)
			}
		}
		if _, is := got["all/"+dt]; is {
			t.Errorf("there is a histogram of nothing: %v", got)
		}
	}
}
