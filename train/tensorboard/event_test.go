package tensorboard

import (
	"bytes"
	"math"
	"os"
	"testing"
	"time"
)

// The bytes are those that TensorBoard's own messages and record writer give, see testdata/golden.py.
func TestGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/golden.tfevents")
	if err != nil {
		t.Fatal(err)
	}
	at := func(seconds float64) time.Time { return time.Unix(0, int64(seconds*1e9)) }
	var h Histogram
	h.Add([]float32{1.5, -3, 0, float32(math.Copysign(0, -1)), 1e-20})
	h.Add([]float32{float32(math.NaN()), 0.3, -0.5})
	h.Add([]float32{float32(math.Inf(1)), float32(math.Inf(-1))})
	if h.NonFinite != 3 || h.Count != 7 {
		t.Errorf("counted %d and left out %d, want 7 and 3", h.Count, h.NonFinite)
	}
	got := bytes.Join([][]byte{
		Version(at(1)),
		Start(at(1.25), 3),
		Event(at(1790000000.5), 500, Scalar("loss/train", 2.71828), Scalar("loss/validation", math.NaN()), Scalar("learning_rate", 3e-4), h.Value("parameters/head.weight")),
		Event(at(1.5), 0, Text("configuration", "| a | b |\n|---|---|\n| é | 1 |"),
			Layout("loss", Chart{"training and validation", []string{"^loss/train$", "^loss/validation$"}})),
	}, nil)
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
