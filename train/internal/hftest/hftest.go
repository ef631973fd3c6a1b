// Package hftest changes and runs the models of Hugging Face folders, for tests.
package hftest

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// Copy copies the folder of a model, with changes to its config.json, and returns where to; "absent" takes a key away.
func Copy(t testing.TB, from string, changes map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	config := map[string]any{}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &config)
	}
	for key, value := range changes {
		if config[key] = value; value == "absent" {
			delete(config, key)
		}
	}
	if err == nil {
		data, err = json.Marshal(config)
	}
	if err == nil {
		err = os.WriteFile(path, data, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Rewrite writes model.safetensors of a folder again, after a change to its tensors.
func Rewrite(t testing.TB, dir string, change func(entries []safetensors.Entry) []safetensors.Entry) {
	t.Helper()
	path := filepath.Join(dir, "model.safetensors")
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var entries []safetensors.Entry
	for _, name := range f.Names() {
		r, err := f.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		dtype, shape, _ := f.Info(name)
		entries = append(entries, safetensors.Values(name, dtype, shape, data))
	}
	f.Close()
	if err := safetensors.Save(path, nil, change(entries)); err != nil {
		t.Fatal(err)
	}
}

// model is what nn calls Logits.
type model interface {
	Params() *ops.Params
	Logits(g *ops.Graph, ids *ops.Tensor) *ops.Tensor
}

// Logits runs a model on one sequence and returns its logits (len(ids), V).
func Logits(t testing.TB, m model, ids []int32) []float32 {
	t.Helper()
	ctx := context.Background()
	g := ops.NewGraph(m.Params().Device())
	x := g.Input("x", ops.I32, 1, len(ids))
	y := m.Logits(g, x)
	g.Output(y)
	step, err := g.Compile()
	if err != nil {
		t.Fatal(err)
	}
	defer step.Close()
	logits := make([]float32, y.Len())
	for _, err := range []error{ops.Upload(ctx, x, ids), step.Run(), step.Wait(ctx), ops.Download(ctx, y, logits)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return logits
}
