//go:build unix

package traincmd

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// text is a string in a pickle of protocol 2, and integer a number.
func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func integer(n int) string { return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }

// stateDict is the pickle of one square f32 tensor, of the storage 0.
func stateDict(name string, side int) string {
	storage := "(" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + integer(side*side) + "tQ"
	return "}(" + text(name) + "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(0) + integer(side) + integer(side) + "\x86" +
		integer(side) + integer(1) + "\x86\x89ccollections\nOrderedDict\n)RtRu"
}

// torchSave writes a file as torch.save does.
func torchSave(t *testing.T, path, pickle string, values []float32) {
	t.Helper()
	raw, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	for name, content := range map[string]string{"x/data.pkl": "\x80\x02" + pickle + ".", "x/data/0": string(raw)} {
		entry, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = entry.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// A run starts from a state_dict, or goes on from a checkpoint, of PyTorch, and refuses those of other models.
func TestFromTorch(t *testing.T) {
	values := make([]float32, 256*256)
	for i := range values {
		values[i] = float32(i%1000) / 1000
	}
	dict := stateDict("bigram.table", 256)
	checkpoint := "}(" + text("model_state") + dict + text("optimizer_state") + "}" + text("iteration") + integer(7) + "u"
	for name, c := range map[string]struct {
		pickle string
		first  int64 // the step that it begins after
	}{
		"dict.pt": {dict, 0}, "checkpoint.PTH": {checkpoint, 7}, "pytorch_model.bin": {"}(" + text("state_dict") + dict + "u", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newToolRun(t, "-total_steps 9 -vocab 256 -tokenizer bytes -lr_max 0 -lr_min 0 -mixed_precision=false")
			path := filepath.Join(r.dir, name)
			torchSave(t, path, c.pickle, values)
			p := r.process("-from", path).start()
			p.ends(0, patience)
			newest, step, err := train.Latest(r.folder())
			if err != nil || step != 9 {
				t.Fatal(newest, step, err)
			}
			f, err := safetensors.OpenVerified(newest)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if got, err := f.Floats("bigram.table"); err != nil || !slices.Equal(got, values) {
				t.Errorf("the table is not the file's (%v)", err)
			}
			if want := fmt.Sprintf(" from=%d ", c.first); !strings.Contains(p.out.String(), want) {
				t.Errorf("the log does not say%s:\n%s", want, p.out.String())
			}
			if c.first > 0 { // and no further
				p = r.process("-from", path, "-total_steps", fmt.Sprint(c.first), "-run_name", "other").start()
				p.ends(1, patience)
				if !strings.Contains(p.errors.String(), "is of step 7 and total_steps is 7") {
					t.Errorf("it said %q", p.errors.String())
				}
			}
		})
	}
	r := newToolRun(t, "-total_steps 9 -tokenizer bytes")
	small, other := filepath.Join(r.dir, "small.pt"), filepath.Join(r.dir, "other.pt")
	torchSave(t, small, stateDict("bigram.table", 16), values[:256])
	torchSave(t, other, stateDict("decoder.weight", 256), values)
	for path, want := range map[string]string{
		small: `tensor "bigram.table" is [16 16], want [256 256]; the structure is the configuration's`,
		other: `tensor "bigram.table" is missing`,
		"../../../train/torch/testdata/legacy.pt": "before PyTorch 1.6",
		filepath.Join(r.dir, "none.pt"):           "no such file",
	} {
		p := r.process("-from", path).start()
		p.ends(1, patience)
		if !strings.Contains(p.errors.String(), want) {
			t.Errorf("-from %s said %q, want %q", path, p.errors.String(), want)
		}
	}
}
