package torch

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/dtype"
)

// torchGolden is what make_fixtures.py says a file holds.
type torchGolden struct {
	Iteration int64                  `json:"iteration"`
	Model     map[string]torchValues `json:"model"`
	State     map[string]struct {
		Step int64
		M, V torchValues
	} `json:"state"`
	Groups [][]any `json:"groups"`
}

// torchValues is [type, shape, values].
type torchValues [3]json.RawMessage

func readTorchGolden(t *testing.T) map[string]torchGolden {
	t.Helper()
	data, err := os.ReadFile("testdata/torch.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]torchGolden
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	return golden
}

// float64s returns the values of any tensor, each of which float64 holds exactly.
func float64s(t *testing.T, x *Tensor) []float64 {
	t.Helper()
	raw, err := io.ReadAll(x.Open())
	if err != nil {
		t.Fatal(err)
	}
	size := int(dtype.Size[x.DType])
	if len(raw) != x.Len()*size {
		t.Fatalf("%d bytes of a %s tensor of shape %v", len(raw), x.DType, x.Shape)
	}
	values := make([]float64, x.Len())
	for i := range values {
		b := raw[i*size:]
		switch x.DType {
		case "F32", "F16", "BF16":
			values[i] = float64(dtype.Float32(x.DType, b))
		case "F64":
			values[i] = math.Float64frombits(binary.LittleEndian.Uint64(b))
		default:
			var full [8]byte
			copy(full[:], b[:size])
			shift := 64 - 8*size
			values[i] = float64(int64(binary.LittleEndian.Uint64(full[:])<<shift) >> shift)
			if x.DType == "U8" {
				values[i] = float64(b[0])
			}
		}
	}
	return values
}

func (want torchValues) check(t *testing.T, name string, x *Tensor) {
	t.Helper()
	var dtype string
	var shape []int
	var values []float64
	for i, at := range []any{&dtype, &shape, &values} {
		if err := json.Unmarshal(want[i], at); err != nil {
			t.Fatal(err)
		}
	}
	if x == nil {
		t.Errorf("%s is missing", name)
		return
	}
	if x.DType != dtype || !slices.Equal(x.Shape, shape) {
		t.Errorf("%s is %s of shape %v, want %s %v", name, x.DType, x.Shape, dtype, shape)
		return
	}
	if got := float64s(t, x); !slices.Equal(got, values) {
		t.Errorf("%s: %v, want %v", name, got, values)
	}
}

func openTestTorch(t *testing.T, name string) *Checkpoint {
	t.Helper()
	c, err := Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSpec6ImportTorchGolden(t *testing.T) {
	for file, want := range readTorchGolden(t) {
		t.Run(file, func(t *testing.T) {
			c := openTestTorch(t, file)
			if c.Iteration != want.Iteration || len(c.Model) != len(want.Model) || len(c.Names) != len(want.Model) || len(c.State) != len(want.State) {
				t.Errorf("iteration %d, %d tensors, %d states", c.Iteration, len(c.Model), len(c.State))
			}
			for name, values := range want.Model {
				values.check(t, name, c.Model[name])
			}
			for index, state := range want.State {
				i, err := strconv.Atoi(index)
				if err != nil {
					t.Fatal(err)
				}
				if c.State[i].Step != state.Step {
					t.Errorf("parameter %d: step %d, want %d", i, c.State[i].Step, state.Step)
				}
				state.M.check(t, "m of "+index, c.State[i].ExpAvg)
				state.V.check(t, "v of "+index, c.State[i].ExpAvgSq)
			}
			var groups [][]any
			for _, g := range c.Groups {
				var params []any
				for _, p := range g.Params {
					params = append(params, float64(p))
				}
				groups = append(groups, []any{params, g.LR, []any{g.Beta1, g.Beta2}, g.Eps, g.WeightDecay})
			}
			if got, want := fmt.Sprint(groups), fmt.Sprint(want.Groups); got != want {
				t.Errorf("groups %v, want %v", got, want)
			}
		})
	}
}

func TestSpec6ImportTorchFloats(t *testing.T) {
	c := openTestTorch(t, "tensors.pt")
	for name, want := range map[string][]float32{
		"transposed": {0, 6, 12, 18, 1, 7, 13, 19, 2, 8, 14, 20, 3, 9, 15, 21, 4, 10, 16, 22, 5, 11, 17, 23},
		"column":     {2, 8, 14, 20},
		"f16":        {1.5, 65504, -2, 0x1p-24},
		"bf16":       {1, -3.25, 0x1.2cp126},
		"f64":        {math.Pi},
		"scalar":     {2.5},
		"empty":      {},
	} {
		if got, err := c.Model[name].Floats(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	_, err := c.Model["i64"].Floats()
	check.Error(t, err, "I64")
	for bits, want := range map[uint16]float32{0: 0, 0x3c00: 1, 0x0001: 0x1p-24, 0x03ff: 1023 * 0x1p-24, 0x0400: 0x1p-14, 0x7bff: 65504, 0x7c00: float32(math.Inf(1)), 0xfc00: float32(math.Inf(-1)), 0xc000: -2} {
		if got := dtype.Float32("F16", []byte{byte(bits), byte(bits >> 8)}); got != want {
			t.Errorf("f16 %#04x is %v, want %v", bits, got, want)
		}
	}
	if got := dtype.Float32("F16", []byte{0x00, 0x80}); got != 0 || !math.Signbit(float64(got)) {
		t.Errorf("f16 -0 is %v", got)
	}
	if got := dtype.Float32("F16", []byte{0x01, 0x7e}); got == got {
		t.Errorf("f16 NaN is %v", got)
	}
}

func TestSpec6ImportTorchStateByName(t *testing.T) {
	golden := readTorchGolden(t)
	// The numbers of the parameters: model.parameters() in order, the tied weights once.
	numbers := map[string]string{"unused": "0", "embed.weight": "1", "proj.weight": "2", "proj.bias": "3"}
	for _, file := range []string{"torch_adamw.pt", "document_adamw.pt"} {
		states, err := openTestTorch(t, file).StateByName(nil)
		if err != nil || len(states) != 3 {
			t.Fatal(len(states), err)
		}
		for name, number := range numbers {
			if s, ok := states[name]; ok {
				golden[file].State[number].M.check(t, name, s.ExpAvg)
			} else if name != "unused" {
				t.Errorf("no state of %s", name)
			}
		}
	}
	c := openTestTorch(t, "groups.pt")
	_, err := c.StateByName(nil)
	check.Error(t, err, "2 groups", "groups.pt")
	states, err := c.StateByName([]string{"embed.weight", "proj.weight", "unused", "proj.bias"})
	if err != nil || len(states) != 3 {
		t.Fatal(len(states), err)
	}
	golden["groups.pt"].State["3"].V.check(t, "proj.bias", states["proj.bias"].ExpAvgSq)
	_, err = c.StateByName([]string{"proj.bias", "proj.weight", "unused", "embed.weight"})
	check.Error(t, err, `"proj.bias" has shape [4]`, "(parameter 0) [5 4]")
	_, err = c.StateByName([]string{"embed.weight", "other", "unused", "proj.bias"})
	check.Error(t, err, `parameter 1 is called "other"`)
	_, err = c.StateByName([]string{"embed.weight", "embed.weight", "unused", "proj.bias"})
	check.Error(t, err, `"embed.weight"`, "used twice")
	_, err = c.StateByName([]string{"embed.weight"})
	check.Error(t, err, "1 names for the optimizer's 4 parameters")
	c.Groups[0].ParamNames, c.Groups[1].ParamNames = []string{"embed.weight", "proj.weight", "unused"}, []string{"proj.bias"}
	if states, err := c.StateByName(nil); err != nil || len(states) != 3 {
		t.Errorf("names in the file: %d states, %v", len(states), err)
	}
}

func TestSpec6ImportTorchErrors(t *testing.T) {
	_, err := Open("testdata/legacy.pt")
	check.Error(t, err, "before PyTorch 1.6", "legacy.pt")
	_, err = Open("testdata/expanded.pt")
	check.Error(t, err, "[1073741824]", "repeats values")
	_, err = Open("../safetensors/testdata/python.safetensors")
	check.Error(t, err, "not a file of torch.save")
	_, err = Open("testdata/none.pt")
	check.Error(t, err, "none.pt")
	_, err = Open(check.File(t, "empty.pt", nil))
	check.Error(t, err, "not a file of torch.save")

	whole, err := os.ReadFile("testdata/document_adamw.pt")
	if err != nil {
		t.Fatal(err)
	}
	for size := 0; size < len(whole); size += 1 + size/50 {
		c, err := Open(check.File(t, "cut.pt", whole[:size]))
		if err == nil {
			c.Close()
			t.Errorf("%d of %d bytes are accepted", size, len(whole))
		}
	}
	// A damaged value fails the checksum of its zip entry.
	c := openTestTorch(t, "document_adamw.pt")
	x := c.Model["embed.weight"]
	damaged := slices.Clone(whole)
	damaged[x.storage.offset+5] ^= 1
	_, err = Open(check.File(t, "damaged.pt", damaged))
	check.Error(t, err, "data/1", "damaged", "checksum")
}

// The optimizer may know the parameters by other names than the model.
func TestTorchStateOfWrappedNames(t *testing.T) {
	c, err := Open("testdata/torch_adamw.pt")
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
