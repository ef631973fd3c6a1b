package guest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// golden is what testdata/make_golden.py computed.
type golden struct {
	Inputs, Targets []int32
	Loss            float64
	Params          map[string]struct {
		Shape        []int
		Values, Grad []byte
	}
}

// Loss and gradients of all parameters are those that PyTorch computes in float64.
func TestAgainstPyTorch(t *testing.T) {
	dev := open(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			text, err := os.ReadFile("testdata/" + k.name + ".json")
			must(t, err)
			var want golden
			must(t, json.Unmarshal(text, &want))
			m, err := k.reserve(dev)
			must(t, err)
			defer m.Params().Release()
			compare(t, dev, m, want)
		})
	}
}

func compare(t *testing.T, dev *vk.Device, m model, want golden) {
	params := m.Params()
	if len(params.All()) != len(want.Params) {
		t.Fatalf("%d parameters, want %d", len(params.All()), len(want.Params))
	}
	for _, p := range params.All() {
		w, ok := want.Params[p.Name()]
		if !ok || !slices.Equal(w.Shape, p.Shape()) {
			t.Fatalf("parameter %v, want shape %v", p, w.Shape)
		}
		must(t, ops.Upload(t.Context(), p, floats(t, w.Values)))
	}
	g := ops.NewGraph(dev)
	x, y := g.Input("x", ops.I32, 2, 6), g.Input("y", ops.I32, 2, 6)
	loss := m.Loss(g, x, y)
	g.Backward(loss, nil)
	g.Output(loss)
	step, err := g.Compile()
	must(t, err)
	defer step.Close()
	must(t, ops.Upload(t.Context(), x, want.Inputs))
	must(t, ops.Upload(t.Context(), y, want.Targets))
	must(t, step.Run())
	got, err := ops.Item(t.Context(), loss)
	must(t, err)
	if math.Abs(float64(got)-want.Loss) > 1e-6*want.Loss {
		t.Errorf("loss %v, want %v", got, want.Loss)
	}
	for _, p := range params.All() {
		got := make([]float32, p.Len())
		must(t, ops.Download(t.Context(), params.Grad(p), got))
		if d := distance(got, floats(t, want.Params[p.Name()].Grad)); !(d <= 2e-6) {
			t.Errorf("gradient of %s is off by %.2g of its norm", p.Name(), d)
		}
	}
}

// distance is |a − b|/|b|.
func distance(a, b []float32) float64 {
	var difference, size float64
	for i := range b {
		d := float64(a[i]) - float64(b[i])
		difference, size = difference+d*d, size+float64(b[i])*float64(b[i])
	}
	return math.Sqrt(difference / size)
}

func floats(t *testing.T, raw []byte) []float32 {
	values := make([]float32, len(raw)/4)
	must(t, binary.Read(bytes.NewReader(raw), binary.LittleEndian, values))
	return values
}
