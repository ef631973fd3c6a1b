package train

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/torchtest"
)

// tableModel has one parameter, table (2, 4).
type tableModel struct{ params *ops.Params }

func (m tableModel) Params() *ops.Params { return m.params }

func (m tableModel) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	return g.CrossEntropy(g.Embed(m.params.ByName("table"), x), y, nil)
}

// torchTable is a file of torch.save with float32 tensors of these names, all of
// shape (2, 4), beside what other is.
func torchTable(t *testing.T, values []byte, other string, names ...string) string {
	t.Helper()
	model := "}("
	for _, name := range names {
		model += torchtest.Text(name) + torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 8), "K\x00", "K\x02K\x04\x86", "K\x04K\x01\x86")
	}
	path := filepath.Join(t.TempDir(), "x.pt")
	file := torchtest.Zip(t, "x/data.pkl", torchtest.Payload(model+other+"u", torchtest.NoOptimizer), "x/data/0", string(values))
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
	tr, err := NewTrainer(dev, c, m, data.NewTokens(make([]uint16, 20)))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	mask := torchtest.Text("layers.0.attn.bias") + torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 8), "K\x00", "(K\x01K\x01K\x02K\x04t", "(K\x08K\x08K\x04K\x01t")
	extra := torchtest.Text("extra") + torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 8), "K\x00", "K\x04\x85", "K\x01\x85")
	for i, file := range []struct {
		path, want string
	}{
		{torchTable(t, torchtest.Values(8), "", "table"), ""},
		{torchTable(t, torchtest.Values(8), "", "module.table"), ""},
		{torchTable(t, torchtest.Values(8), "", "_orig_mod.module.table"), ""},
		{torchTable(t, torchtest.Values(8), "", "model.table"), ""},
		{torchTable(t, torchtest.Values(8), mask, "transformer.table"), ""},
		{torchTable(t, torchtest.Values(8), "", "decoder.table"), `tensor "table" is missing`},
		{torchTable(t, torchtest.Values(8), "", "table", "module.table"), `tensors "table" and "module.table" are both "table"`},
		{torchTable(t, torchtest.Values(8), "", "table", "head"), ""}, // tied
		{torchTable(t, torchtest.Values(8), extra, "table"), `tensor "extra" is not one of this model`},
		{torchTable(t, binary.LittleEndian.AppendUint32(torchtest.Values(7), math.Float32bits(float32(math.Inf(1)))), "", "module.table"), `"table": the value at [1 3] is +Inf`},
	} {
		err := tr.ImportTorch(ctx, file.path)
		if file.want != "" {
			check.Error(t, err, file.path, file.want)
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
		check.Error(t, tr.ImportTorch(ctx, path), path, want)
	}
}
