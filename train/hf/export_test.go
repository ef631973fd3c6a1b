package hf

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/transfer"
)

// From the folder to the device and back everything is the same.
func TestExportIsImport(t *testing.T) {
	for dir := range folders {
		f := openHF(t, dir)
		out := t.TempDir()
		if err := f.Export(context.Background(), out, transformerOf(t, ops.F32, f).Params()); err != nil {
			t.Fatal(err)
		}
		again := openHF(t, out)
		got, want := fileOf(t, again), fileOf(t, f)
		for name := range want {
			is, _, _ := again.source[name].Info(name)
			if was, _, _ := f.source[name].Info(name); is != was || !bytes.Equal(got[name], want[name]) {
				t.Errorf("%q is not what it was (%s, was %s)", name, is, was)
			}
		}
		if is, was := again.object.fields, f.object.fields; len(is) != len(was) {
			t.Errorf("%d fields, want %d", len(is), len(was))
		}
		for key := range f.object.fields {
			is, _ := again.object.get(key)
			if was, _ := f.object.get(key); is != was {
				t.Errorf("%s is %s, want %s", key, is, was)
			}
		}
	}
}

// Values that are finite in the file and not in the type that is asked for.
func TestValuesThatDoNotFit(t *testing.T) {
	for _, c := range []struct {
		value float32
		dt    ops.DType
		fits  bool
	}{
		{65519, ops.F16, true}, {-65520, ops.F16, false}, {65520, ops.BF16, true},
		{math.MaxFloat32, ops.F32, true}, {math.MaxFloat32, ops.BF16, false}, {0x1.feffp127, ops.BF16, true},
	} {
		if err := transfer.CheckStored([]float32{0, c.value}, c.dt); (err == nil) != c.fits {
			t.Errorf("%v as %v: %v", c.value, c.dt, err)
		}
		raw := binary.LittleEndian.AppendUint32(make([]byte, 4), math.Float32bits(c.value))
		if _, err := convert(raw, "F32", transfer.DType(c.dt)); (err == nil) != c.fits {
			t.Errorf("exporting %v as %v: %v", c.value, c.dt, err)
		}
	}
}

func TestExportOverwritesNothing(t *testing.T) {
	c := folders["testdata/llama"]
	for _, name := range []string{"model.safetensors", "config.json", "tokenizer.json", "generation_config.json", "checkpoint-00000002.safetensors"} {
		dir := filepath.Dir(check.File(t, name, nil))
		check.Error(t, Model{Config: c, DType: "F32"}.Write(dir, nil), "the folder holds "+name+" already")
	}
}

// An export that fails half way leaves no folder, nor anything beside it.
func TestExportIsWholeOrNotThere(t *testing.T) {
	c := folders["testdata/llama"]
	stopped := errors.New("stopped")
	read := 0
	m := Model{Config: c, DType: "F32", Param: func(name string) (Tensor, bool) {
		for _, tensor := range llamaLayout(c) {
			if i := slices.Index(tensor.ours, name); i >= 0 {
				shape := tensor.ourShape()
				return Tensor{"F32", shape, func() ([]byte, error) {
					if read++; read == 4 {
						return nil, stopped
					}
					size := 4
					for _, n := range shape {
						size *= n
					}
					return make([]byte, size), nil
				}}, true
			}
		}
		return Tensor{}, false
	}}
	parent := t.TempDir()
	dir := filepath.Join(parent, "out")
	if err := m.Write(dir, nil); !errors.Is(err, stopped) {
		t.Fatal(err)
	}
	if err := m.Write(dir, func(string) error { return stopped }); !errors.Is(err, stopped) {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
	if err := m.Write(dir, nil); err != nil {
		t.Error(err)
	}
	m.Origin = `{"model_type": "gpt2"}`
	check.Error(t, m.Write(filepath.Join(parent, "other"), nil), "norm would be layernorm and is rmsnorm")
}
