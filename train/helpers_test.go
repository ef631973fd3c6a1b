package train

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

var someText = strings.Repeat("One two, three. ", 60)

// storedTensor is a tensor as a file has it.
type storedTensor struct{ dtype, values string }

// tensorsIn reads all tensors of a Hugging Face folder.
func tensorsIn(t *testing.T, dir string) map[string]storedTensor {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err != nil || len(paths) == 0 {
		t.Fatal(dir, err)
	}
	all := map[string]storedTensor{}
	for _, path := range paths {
		f, err := safetensors.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range f.Names() {
			dtype, _, _ := f.Info(name)
			all[name] = storedTensor{dtype, string(tensorBytesOf(t, f, name))}
		}
		f.Close()
	}
	return all
}

func tensorBytesOf(t *testing.T, f *safetensors.File, name string) []byte {
	t.Helper()
	r, err := f.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func openTokenizer(t testing.TB, name string) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// copyHF copies a folder of testdata, with changes to its config.json.
func copyHF(t *testing.T, from string, changes map[string]any) string {
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

// rewriteHF writes model.safetensors of a folder again, after a change to its tensors.
func rewriteHF(t *testing.T, dir string, change func(entries []safetensors.Entry) []safetensors.Entry) {
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

// relativeL2 is the distance of two lists, relative to the second.
func relativeL2(got, want []float32) float64 {
	var diff, norm float64
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		diff, norm = diff+d*d, norm+float64(want[i])*float64(want[i])
	}
	return math.Sqrt(diff / norm)
}

// logitsOf runs a model on one sequence.
func logitsOf(t *testing.T, m *nn.Transformer, ids []int32) []float32 {
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
