package train_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/internal/eventtest"
)

// pythonEnv names a Python interpreter that has the package tensorboard.
const pythonEnv = "LEMNOS_TENSORBOARD_PYTHON"

// found is what testdata/events.py prints: by tag, pairs of a step and a value.
type found struct {
	Scalars    map[string][][2]float64
	Texts      map[string][][2]any
	Plugins    map[string]string
	Histograms map[string][][2]json.RawMessage
}

// TensorBoard's own reader sees of an interrupted run what was written: every scalar, text
// and histogram, once.
func TestTensorBoardReadsEvents(t *testing.T) {
	python := os.Getenv(pythonEnv)
	if python == "" {
		t.Skip(pythonEnv + " is not set: make check PARTS=tensorboard sets it")
	}
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.TensorBoard, c.GradAccum = true, 2
	stopped, stop := context.WithCancel(ctx)
	if err := runHooked(stopped, dev, c, train.Hooks{Progress: func(r train.Record) {
		if r.Step == 20 {
			stop()
		}
	}}); err == nil {
		t.Fatal("the run was not stopped")
	}
	must(t, runHooked(ctx, dev, c, train.Hooks{}))
	read := exec.Command(python, "testdata/events.py", c.Dir())
	read.Stderr = os.Stderr
	text, err := read.Output()
	must(t, err)
	var got found
	must(t, json.Unmarshal(text, &got))

	events := eventtest.Run(t, c.Dir())
	wantCurves(t, c, events)
	want := found{map[string][][2]float64{}, map[string][][2]any{}, map[string]string{}, map[string][][2]json.RawMessage{}}
	for _, e := range events {
		for _, v := range e.Values {
			switch {
			case v.Scalar != nil:
				want.Scalars[v.Tag] = append(want.Scalars[v.Tag], [2]float64{float64(e.Step), float64(*v.Scalar)})
			case v.Histogram != nil:
				want.Histograms[v.Tag] = append(want.Histograms[v.Tag], [2]json.RawMessage{json.RawMessage(fmt.Sprint(e.Step)), histogramJSON(t, v.Histogram)})
			default:
				want.Texts[v.Tag] = append(want.Texts[v.Tag], [2]any{float64(e.Step), v.Text})
				want.Plugins[v.Tag] = v.Plugin
			}
		}
	}
	for _, all := range got.Histograms {
		for i := range all {
			var h eventtest.Histogram
			must(t, json.Unmarshal(all[i][1], (*readerHistogram)(&h)))
			all[i][1] = histogramJSON(t, &h)
		}
	}
	if len(want.Scalars) != 6 || len(want.Histograms) != 2 || len(want.Texts) != 2 {
		t.Errorf("there are %d scalars, %d histograms and %d texts", len(want.Scalars), len(want.Histograms), len(want.Texts))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("TensorBoard reads\n%v\nwant\n%v", got, want)
	}
}

// readerHistogram is a histogram by the names that TensorBoard has for its parts.
type readerHistogram struct {
	Min, Max, Num, Sum float64
	SumSquares         float64   `json:"sum_squares"`
	Limits             []float64 `json:"bucket_limit"`
	Counts             []float64 `json:"bucket"`
}

func histogramJSON(t *testing.T, h *eventtest.Histogram) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(h)
	must(t, err)
	return text
}
