package train

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk/vktest"
)

// tableModel has one parameter, table (2, 4).
type tableModel struct{ params *ops.Params }

func (m tableModel) Params() *ops.Params { return m.params }

func (m tableModel) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	return g.CrossEntropy(g.Embed(m.params.ByName("table"), x), y, nil)
}

// torchTable is a file of torch.save with float32 tensors of these names, all of
// shape (2, 4), beside what other is.
func torchTable(t *testing.T, data []byte, other string, names ...string) string {
	t.Helper()
	model := "}("
	for _, name := range names {
		model += text(name) + tensor(storage("FloatStorage", "0", 8), "K\x00", "K\x02K\x04\x86", "K\x04K\x01\x86")
	}
	path := filepath.Join(t.TempDir(), "x.pt")
	file := zipFile(t, "x/data.pkl", payload(model+other+"u", noOptimizer), "x/data/0", string(data))
	if err := os.WriteFile(path, file, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImportTorchNames(t *testing.T) {
	ctx, dev := context.Background(), vktest.Open(t)
	m := tableModel{ops.NewParams(dev, ops.F32)}
	m.params.Add("table", 2, 4)
	if err := m.params.Alloc(); err != nil {
		t.Fatal(err)
	}
	defer m.params.Release()
	c := DefaultConfig()
	c.MixedPrecision, c.Vocab, c.BatchSize, c.ContextLen = false, 4, 1, 4
	tr, err := NewTrainer(dev, c, m, NewTokens(make([]uint16, 20)))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	mask := text("layers.0.attn.bias") + tensor(storage("FloatStorage", "0", 8), "K\x00", "(K\x01K\x01K\x02K\x04t", "(K\x08K\x08K\x04K\x01t")
	for i, file := range []struct {
		path, want string
	}{
		{torchTable(t, values(8), "", "table"), ""},
		{torchTable(t, values(8), "", "module.table"), ""},
		{torchTable(t, values(8), "", "_orig_mod.module.table"), ""},
		{torchTable(t, values(8), "", "model.table"), ""},
		{torchTable(t, values(8), mask, "transformer.table"), ""},
		{torchTable(t, values(8), "", "decoder.table"), `tensor "table" is missing`},
		{torchTable(t, values(8), "", "table", "module.table"), `tensors "table" and "module.table" are both "table"`},
		{torchTable(t, values(8), "", "table", "extra"), `tensor "extra" is not one of this model`},
		{torchTable(t, binary.LittleEndian.AppendUint32(values(7), math.Float32bits(float32(math.Inf(1)))), "", "module.table"), `"table": the value at [1 3] is +Inf`},
	} {
		err := tr.ImportTorch(ctx, file.path)
		if file.want != "" {
			wantError(t, err, file.path, file.want)
			continue
		}
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
		got := make([]float32, 8)
		if err := ops.Download(ctx, m.params.ByName("table"), got); err != nil {
			t.Fatal(err)
		}
		if got[7] != 7 || tr.Iteration() != 7 {
			t.Errorf("%d: table is %v, iteration %d", i, got, tr.Iteration())
		}
		if err := ops.Upload(ctx, m.params.ByName("table"), make([]float32, 8)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "pointer.pt")
	for content, want := range map[string]string{
		"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 633\n": "it is a git-lfs pointer",
		"<!DOCTYPE html><html></html>":                                            "it is a web page",
	} {
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		wantError(t, tr.ImportTorch(ctx, path), path, want)
	}
}

// The optimizer may know the parameters by other names than the model.
func TestTorchStateOfWrappedNames(t *testing.T) {
	c, err := OpenTorch("testdata/torch_adamw.pt")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	names := c.parameters()
	want, err := c.StateByName(names)
	if err != nil || len(want) == 0 {
		t.Fatal(want, err)
	}
	for i := range names {
		names[i] = "module._orig_mod." + names[i]
	}
	got, err := c.StateByName(names)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("states of %d parameters, want %d: %v", len(got), len(want), err)
	}
}
