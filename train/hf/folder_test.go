package hf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/hftest"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// The folders that testdata/make_huggingface.py made.
var folders = map[string]nn.TransformerConfig{
	"testdata/gpt2": {Vocab: 50, Context: 16, Layers: 2, Heads: 2, Width: 32, FFN: 36, Norm: "layernorm", NormEps: 1e-5,
		Activation: "gelu_tanh", Positions: "learned", RopeTheta: 1e4, Tied: true, Bias: true, Init: "gpt2"},
	"testdata/llama": {Vocab: 50, Context: 16, Layers: 2, Heads: 2, KVHeads: 1, Width: 32, FFN: 44, Norm: "rmsnorm", NormEps: 1e-5,
		Activation: "swiglu", Positions: "rope_half", RopeTheta: 5000, Init: "truncated_normal"},
	"testdata/mistral": {Vocab: 50, Context: 16, Layers: 2, Heads: 4, KVHeads: 2, HeadSize: 12, Width: 30, FFN: 44, Norm: "rmsnorm", NormEps: 1e-5,
		Activation: "swiglu", Positions: "rope_half", RopeTheta: 5000, Init: "truncated_normal"},
}

func openHF(t *testing.T, dir string) *Folder {
	t.Helper()
	h, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// transformerOf is the model of a structure, with the folder's values.
func transformerOf(t *testing.T, dt ops.DType, h *Folder) *nn.Transformer {
	t.Helper()
	m, err := nn.NewTransformer(vktest.Open(t), dt, h.Config, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Params().Release)
	if err := h.Load(context.Background(), m.Params(), nil); err != nil {
		t.Fatal(err)
	}
	return m
}

// golden returns the ids of a folder's golden.json, and their logits.
func golden(t *testing.T, dir string) (ids []int32, logits []float32) {
	t.Helper()
	var file struct {
		IDs    []int32   `json:"ids"`
		Logits []float32 `json:"logits"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file.IDs, file.Logits
}

func TestLogits(t *testing.T) {
	for dir, config := range folders {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			h := openHF(t, dir)
			if h.Config != config {
				t.Errorf("config is\n%+v, want\n%+v", h.Config, config)
			}
			ids, want := golden(t, dir)
			got := hftest.Logits(t, transformerOf(t, ops.F32, h), ids)
			if diff := opstest.RelL2(got, want); !(diff <= 2e-5) {
				t.Errorf("logits differ by %.2g, want at most 2e-5", diff)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The gradients of each token's mean cross-entropy given those before it are PyTorch's.
func TestGradients(t *testing.T) {
	const dir = "testdata/mistral"
	ctx, h := context.Background(), openHF(t, dir)
	ids, _ := golden(t, dir)
	m, n := transformerOf(t, ops.F32, h), len(ids)-1
	g := ops.NewGraph(m.Params().Device())
	x, y := g.Input("x", ops.I32, 1, n), g.Input("y", ops.I32, 1, n)
	g.Backward(m.Loss(g, x, y), nil)
	step, err := g.Compile()
	must(t, err)
	defer step.Close()
	want, err := safetensors.Open(filepath.Join(dir, "golden.gradients"))
	must(t, err)
	defer want.Close()
	must(t, errors.Join(ops.Upload(ctx, x, ids[:n]), ops.Upload(ctx, y, ids[1:]), step.Run(), step.Wait(ctx)))
	for _, tensor := range h.tensors {
		theirs, err := want.Floats(tensor.name)
		must(t, err)
		for i, name := range tensor.ours {
			p := m.Params().ByName(name)
			got := make([]float32, p.Len())
			must(t, ops.Download(ctx, m.Params().Grad(p), got))
			if diff := opstest.RelL2(got, split(tensor, theirs, i)); !(diff <= 2e-5) {
				t.Errorf("gradients of %s differ by %.2g, want at most 2e-5", name, diff)
			}
		}
	}
}

// fileOf reads all tensors of an open folder, as they are stored.
func fileOf(t *testing.T, h *Folder) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for name, f := range h.source {
		r, err := f.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if all[name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// What is imported and exported again is the same, in the type of the file.
func TestRoundTrip(t *testing.T) {
	for dir, dt := range map[string]ops.DType{"testdata/gpt2": ops.F32, "testdata/llama": ops.BF16, "testdata/mistral": ops.F32} {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			h := openHF(t, dir)
			m := transformerOf(t, dt, h)
			out := filepath.Join(t.TempDir(), "new", "folder")
			if err := Export(context.Background(), out, h.Config, m.Params()); err != nil {
				t.Fatal(err)
			}
			if !Is(out) || !Is(dir) || Is("testdata") {
				t.Error("IsHuggingFace takes a folder for what it is not")
			}
			again := openHF(t, out)
			if again.Config != h.Config {
				t.Errorf("config is\n%+v, want\n%+v", again.Config, h.Config)
			}
			want, got := fileOf(t, h), fileOf(t, again)
			if len(got) != len(want) {
				t.Errorf("%d tensors, want %d", len(got), len(want))
			}
			for name := range want {
				if !bytes.Equal(got[name], want[name]) {
					t.Errorf("%q is not what it was", name)
				}
			}
			if meta := again.files[0].Meta(); meta["format"] != "pt" {
				t.Errorf("metadata %q", meta)
			}
		})
	}
}

// Structures of ours that the files have otherwise: interleaved RoPE, no biases.
// They come back as the same function.
func TestExportsOurKinds(t *testing.T) {
	cs336 := folders["testdata/llama"]
	cs336.Positions, cs336.Tied = "rope", true
	nanoGPT := folders["testdata/gpt2"]
	nanoGPT.Bias, nanoGPT.Activation, nanoGPT.Tied = false, "gelu", false
	nemo := cs336
	nemo.Heads, nemo.KVHeads, nemo.HeadSize, nemo.Width, nemo.Bias = 4, 2, 12, 30, true
	for name, c := range map[string]nn.TransformerConfig{"cs336": cs336, "nanogpt": nanoGPT, "nemo": nemo} {
		t.Run(name, func(t *testing.T) {
			m, err := nn.NewTransformer(vktest.Open(t), ops.F32, c, 5)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Params().Release()
			dir := t.TempDir()
			if err := Export(context.Background(), dir, c, m.Params()); err != nil {
				t.Fatal(err)
			}
			ids := []int32{3, 1, 4, 1, 5, 9, 2, 6, 49}
			again := openHF(t, dir)
			if a, b := again.Config.Resolved(), c.Resolved(); a.HeadSize != b.HeadSize || a.KVHeads != b.KVHeads || a.Width != b.Width {
				t.Errorf("the structure is\n%+v, want\n%+v", a, b)
			}
			got, want := hftest.Logits(t, transformerOf(t, ops.F32, again), ids), hftest.Logits(t, m, ids)
			if diff := opstest.RelL2(got, want); !(diff <= 2e-6) {
				t.Errorf("logits differ by %.2g", diff)
			}
		})
	}
}

// Learned positions may be cut off, other shapes must be the same.
func TestLoadChecks(t *testing.T) {
	ctx, dev := context.Background(), vktest.Open(t)
	h := openHF(t, "testdata/gpt2")
	for _, p := range []*ops.Params{nil, ops.NewParams(dev, ops.F32)} {
		for _, err := range []error{h.Load(ctx, p, nil), h.Export(ctx, t.TempDir(), p), Export(ctx, t.TempDir(), h.Config, p)} {
			check.Error(t, err, "call Alloc first")
		}
	}
	ids := []int32{7, 0, 49, 12}
	want := hftest.Logits(t, transformerOf(t, ops.F32, h), ids)
	for _, c := range []struct {
		change func(*nn.TransformerConfig)
		want   string
	}{
		{func(c *nn.TransformerConfig) { c.Context = 5 }, ""},
		{func(c *nn.TransformerConfig) { c.Context = 17 }, `"position_embeddings.weight" as [16 32], this model as [17 32]`},
		{func(c *nn.TransformerConfig) { c.Vocab = 51 }, `"token_embeddings.weight" as [50 32], this model as [51 32]`},
		{func(c *nn.TransformerConfig) { c.Layers = 1 }, `"layers.1.ln1.weight", which is no parameter`},
		{func(c *nn.TransformerConfig) { c.Layers = 3 }, `nothing for the parameter "layers.2.ln1.weight"`},
	} {
		config := h.Config
		c.change(&config)
		m, err := nn.NewTransformer(dev, ops.F32, config, 1)
		if err != nil {
			t.Fatal(err)
		}
		err = h.Load(ctx, m.Params(), nil)
		if c.want != "" {
			check.Error(t, err, "testdata/gpt2", c.want)
		} else if diff := opstest.RelL2(hftest.Logits(t, m, ids), want); err != nil || diff != 0 {
			t.Errorf("%+v: %v, the logits differ by %.2g", config, err, diff)
		}
		m.Params().Release()
	}
}

func TestExportErrors(t *testing.T) {
	gpt2, llama := folders["testdata/gpt2"], folders["testdata/llama"]
	none := func(string) (Tensor, bool) { return Tensor{}, false }
	for _, c := range []struct {
		config nn.TransformerConfig
		change func(*nn.TransformerConfig)
		want   string
	}{
		{gpt2, func(c *nn.TransformerConfig) { c.Positions = "rope" }, "positions is rope, want learned"},
		{gpt2, func(c *nn.TransformerConfig) { c.Activation = "swiglu" }, "activation is swiglu"},
		{gpt2, func(c *nn.TransformerConfig) { c.KVHeads = 1 }, "kv_heads is 1, want 2"},
		{gpt2, func(c *nn.TransformerConfig) { c.HeadSize = 12 }, "head_size is 12, want width/heads, which is 32/2"},
		{llama, func(c *nn.TransformerConfig) { c.Positions = "learned" }, "positions is learned"},
		{llama, func(c *nn.TransformerConfig) { c.Activation = "silu" }, "activation is silu, want swiglu"},
		{llama, func(c *nn.TransformerConfig) { c.Layers = 0 }, "layers is 0"},
		{llama, func(c *nn.TransformerConfig) {}, `parameter "token_embeddings.weight" is missing`},
	} {
		c.change(&c.config)
		dir := t.TempDir()
		check.Error(t, Model{Config: c.config, DType: "F32", Param: none}.Write(dir, nil), c.want, dir)
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: %s was left behind", c.want, left[0].Name())
		}
	}
	small := func(name string) (Tensor, bool) { return Tensor{"F32", []int{1}, nil}, true }
	check.Error(t, Model{Config: gpt2, DType: "F32", Param: small}.Write(t.TempDir(), nil), `"token_embeddings.weight" is [1], want [50 32]`)
}

// Interleaved pairs (0,1)(2,3) of two heads become halves: (0,2)(1,3).
func TestLayouts(t *testing.T) {
	heads := tensor{shape: []int{8, 2}, ours: []string{"q"}, heads: 2}
	rows := []int{0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61, 70, 71}
	if got, want := join(heads, rows), []int{0, 1, 20, 21, 10, 11, 30, 31, 40, 41, 60, 61, 50, 51, 70, 71}; !slices.Equal(got, want) {
		t.Errorf("RoPE: got %v, want %v", got, want)
	}
	conv := tensor{shape: []int{2, 6}, ours: []string{"q", "k", "v"}, conv1D: true} // a row per input
	theirs := []int{1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16}
	var all []int
	for i, want := range [][]int{{1, 11, 2, 12}, {3, 13, 4, 14}, {5, 15, 6, 16}} {
		got := split(conv, theirs, i)
		if !slices.Equal(got, want) {
			t.Errorf("Conv1D: part %d is %v, want %v", i, got, want)
		}
		all = append(all, got...)
	}
	if got := join(conv, all); !slices.Equal(got, theirs) {
		t.Errorf("Conv1D: joined %v, want %v", got, theirs)
	}
	if !slices.Equal(conv.ourShape(), []int{2, 2}) || strings.Join(conv.ours, "") != "qkv" {
		t.Errorf("shape %v", conv.ourShape())
	}
}
