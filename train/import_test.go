package train_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/train/torch"
	"github.com/lemnos-ml/lemnos/vk"
)

// imported has the parameters of a PyTorch file; its loss reads the first matrix.
type imported struct {
	params *ops.Params
	table  *ops.Tensor
}

func newImported(t *testing.T, dev *vk.Device, dt ops.DType, c *torch.Checkpoint) *imported {
	t.Helper()
	m := &imported{params: ops.NewParams(dev, dt)}
	for _, name := range c.Names {
		p := m.params.Add(name, c.Model[name].Shape...)
		if len(p.Shape()) == 2 && m.table == nil {
			m.table = p
		}
	}
	if err := m.params.Alloc(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.params.Release)
	return m
}

func (m *imported) Params() *ops.Params { return m.params }

func (m *imported) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	return g.CrossEntropy(g.Embed(m.table, x), y, nil)
}

// TestSpec6ImportTorch puts a file of the reference notebook's save_checkpoint into a
// trainer and reads everything back from the device.
func TestSpec6ImportTorch(t *testing.T) {
	for _, file := range []string{"torch_adamw.pt", "document_adamw.pt"} {
		for _, mixed := range []bool{false, true} {
			t.Run(file+map[bool]string{false: "/f32", true: "/bf16"}[mixed], func(t *testing.T) {
				dev := vktest.Open(t)
				c, err := torch.Open("torch/testdata/" + file)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				cfg := smallRun(t, t.TempDir())
				cfg.AdamW, cfg.MixedPrecision, cfg.BatchSize, cfg.ContextLen = "torch", mixed, 2, 4
				m := newImported(t, dev, cfg.Storage(), c)
				tr, err := train.NewTrainer(dev, cfg, m, data.TextTokens(make([]byte, 100)))
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close()
				if err := tr.ImportTorch(ctx, "torch/testdata/"+file); err != nil {
					t.Fatal(err)
				}
				if tr.Iteration() != c.Iteration {
					t.Errorf("iteration is %d, want %d", tr.Iteration(), c.Iteration)
				}
				// The next checkpoint must hold, bit for bit, what the file does.
				s, err := tr.Snapshot(ctx)
				if err != nil {
					t.Fatal(err)
				}
				path, err := s.Save(t.TempDir(), 1)
				if err != nil {
					t.Fatal(err)
				}
				f, err := safetensors.OpenVerified(path)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				states, err := c.StateByName(nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range c.Names {
					weights := name
					if mixed {
						weights = "adamw.master." + name
					}
					sameFloats(t, f, weights, c.Model[name])
					if st, ok := states[name]; ok {
						sameFloats(t, f, "adamw.m."+name, st.ExpAvg)
						sameFloats(t, f, "adamw.v."+name, st.ExpAvgSq)
					}
				}
				if err := tr.Step(); err != nil {
					t.Fatal(err)
				}
				if err := tr.Wait(ctx); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// sameFloats compares a tensor of a checkpoint with one of PyTorch's, as f32 bits.
func sameFloats(t *testing.T, f *safetensors.File, name string, want *torch.Tensor) {
	t.Helper()
	r, err := f.Open(name)
	if err != nil {
		t.Error(err)
		return
	}
	values, err := want.Floats()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, len(values))
	if err := binary.Read(r, binary.LittleEndian, got); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if !slices.Equal(got, values) {
		t.Errorf("%s is %v, want %v", name, got, values)
	}
}

func TestSpec6ImportTorchRefusesAnotherModel(t *testing.T) {
	dev := vktest.Open(t)
	c, err := torch.Open("torch/testdata/torch_adamw.pt")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cfg := smallRun(t, t.TempDir())
	cfg.MixedPrecision, cfg.BatchSize, cfg.ContextLen = false, 2, 4
	for _, bad := range []struct{ name, want string }{{"extra.parameter", "missing"}, {"", "not one of this model"}} {
		m := &imported{params: ops.NewParams(dev, ops.F32)}
		for i, name := range c.Names {
			if bad.name != "" || i > 0 {
				m.params.Add(name, c.Model[name].Shape...)
			}
		}
		m.table = m.params.Add("table", 8, 8)
		if err := m.params.Alloc(); err != nil {
			t.Fatal(err)
		}
		tr, err := train.NewTrainer(dev, cfg, m, data.TextTokens(make([]byte, 100)))
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.ImportTorch(ctx, "torch/testdata/torch_adamw.pt"); err == nil || !strings.Contains(err.Error(), "table") {
			t.Errorf("import into a model with another tensor: %v, want an error that names it", err)
		}
		tr.Close()
		m.params.Release()
	}
}
