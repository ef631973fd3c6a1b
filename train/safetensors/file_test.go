package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/hostile"
)

// entry returns a tensor that is written in pieces of three bytes.
func entry(name, dtype string, data []byte, shape ...int) Entry {
	return Entry{Name: name, DType: dtype, Shape: shape, Write: func(w io.Writer) error {
		for piece := range slices.Chunk(data, 3) {
			if _, err := w.Write(piece); err != nil {
				return err
			}
		}
		return nil
	}}
}

// count returns n bytes that differ from their neighbors.
func count(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * 7)
	}
	return data
}

var testEntries = []Entry{
	entry("odd", "BF16", count(6), 3),
	entry("embed.weight", "F32", count(24), 2, 3),
	entry("größer \"<x>\"\n", "U8", count(5), 5),
	entry("scalar", "U32", count(4)),
	entry("empty", "F32", nil, 0, 7),
	entry("long", "I64", count(16), 2, 1),
}

var testMeta = map[string]string{"iteration": "12", "config": `{"a":"<b>&\u2028"}`}

func saveTest(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new", "folder", "x.safetensors")
	if err := Save(path, testMeta, testEntries); err != nil {
		t.Fatal(err)
	}
	return path
}

func tensorBytesOf(t *testing.T, f *File, name string) []byte {
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

func TestSpec6SafetensorsRoundTrip(t *testing.T) {
	f, err := OpenVerified(saveTest(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if meta := f.Meta(); len(meta) != 2 || meta["iteration"] != "12" || meta["config"] != testMeta["config"] {
		t.Errorf("metadata %q", meta)
	}
	if names := f.Names(); !slices.Equal(names, []string{"long", "empty", "embed.weight", "scalar", "odd", "größer \"<x>\"\n"}) &&
		!slices.Equal(names, []string{"long", "embed.weight", "scalar", "empty", "odd", "größer \"<x>\"\n"}) {
		t.Errorf("names %q", names)
	}
	for _, e := range testEntries {
		dtype, shape, ok := f.Info(e.Name)
		if !ok || dtype != e.DType || !slices.Equal(shape, e.Shape) {
			t.Errorf("%q: %s %v %v", e.Name, dtype, shape, ok)
		}
		var want bytes.Buffer
		e.Write(&want)
		if got := tensorBytesOf(t, f, e.Name); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%q: % x, want % x", e.Name, got, want.Bytes())
		}
	}
	if _, _, ok := f.Info("other"); ok {
		t.Error("a tensor that is not there has Info")
	}
	_, err = f.Open("other")
	check.Error(t, err, `"other"`)
}

// The rules of the format, checked by other code than the reader's.
func TestSpec6SafetensorsFormat(t *testing.T) {
	data, err := os.ReadFile(saveTest(t))
	if err != nil {
		t.Fatal(err)
	}
	length := binary.LittleEndian.Uint64(data)
	header, rest := data[8:8+length], data[8+length:]
	if length%8 != 0 || header[0] != '{' {
		t.Errorf("a header of %d bytes that begins with %q", length, header[0])
	}
	if trimmed := bytes.TrimRight(header, " "); trimmed[len(trimmed)-1] != '}' || len(header)-len(trimmed) > 7 {
		t.Errorf("the header ends in %q", header[len(header)-9:])
	}
	var parsed map[string]json.RawMessage
	if err := json.Unmarshal(header, &parsed); err != nil {
		t.Fatal(err)
	}
	var meta map[string]string
	if err := json.Unmarshal(parsed["__metadata__"], &meta); err != nil {
		t.Fatal(err)
	}
	delete(parsed, "__metadata__")
	covered := make([]int, len(rest))
	for name, raw := range parsed {
		var tensor struct {
			DType       string `json:"dtype"`
			Shape       []int  `json:"shape"`
			DataOffsets [2]int `json:"data_offsets"`
		}
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&tensor); err != nil {
			t.Fatal(err)
		}
		if tensor.Shape == nil {
			t.Errorf("%q: shape is null", name)
		}
		if tensor.DataOffsets[0]%int(dtype.Size[tensor.DType]) != 0 {
			t.Errorf("%q of %s begins at byte %d", name, tensor.DType, tensor.DataOffsets[0])
		}
		for i := tensor.DataOffsets[0]; i < tensor.DataOffsets[1]; i++ {
			covered[i]++
		}
	}
	for i, c := range covered {
		if c != 1 {
			t.Errorf("byte %d of the data belongs to %d tensors", i, c)
		}
	}
	if len(parsed) != len(testEntries) || meta["iteration"] != "12" || len(meta["lemnos.sha256"]) != 64 || len(meta["lemnos.crc32c"]) != 8*len(testEntries) {
		t.Errorf("%d tensors, metadata %q", len(parsed), meta)
	}
}

// python.safetensors was written by the Python package.
func TestSpec6SafetensorsOfPython(t *testing.T) {
	f, err := Open("testdata/python.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var weight []byte
	for i := range 6 {
		weight = binary.LittleEndian.AppendUint32(weight, math.Float32bits(float32(i)/4))
	}
	want := []struct {
		name, dtype string
		shape       []int
		data        []byte
	}{
		{"weight", "F32", []int{2, 3}, weight},
		{"half", "F16", []int{3}, []byte{0x00, 0x3e, 0x00, 0xc0, 0xff, 0x7b}},
		{"step", "I64", []int{}, []byte{0, 0, 0, 0, 0, 1, 0, 0}},
		{"flags", "BOOL", []int{3}, []byte{1, 0, 1}},
		{"empty", "F32", []int{0, 4}, nil},
		{"naïve <名>", "U8", []int{3}, []byte{1, 2, 255}},
	}
	if len(f.Names()) != len(want) {
		t.Errorf("names %q", f.Names())
	}
	for _, w := range want {
		dtype, shape, ok := f.Info(w.name)
		if !ok || dtype != w.dtype || !slices.Equal(shape, w.shape) {
			t.Errorf("%s: %s %v %v", w.name, dtype, shape, ok)
			continue
		}
		if got := tensorBytesOf(t, f, w.name); !bytes.Equal(got, w.data) {
			t.Errorf("%s: % x, want % x", w.name, got, w.data)
		}
	}
	if meta := f.Meta(); meta["iteration"] != "12" || meta["note"] != `größer & 'quoted' "twice"` {
		t.Errorf("metadata %q", meta)
	}
	_, err = OpenVerified("testdata/python.safetensors")
	check.Error(t, err, "no checksum", "python.safetensors")
}

func TestSpec6SafetensorsEveryDamageIsFound(t *testing.T) {
	path := saveTest(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	open := func(data []byte) error {
		f, err := read(bytes.NewReader(data), int64(len(data)), "x")
		if err == nil && f.meta[sha256Key] == "" {
			return errors.New("no checksum")
		}
		return err
	}
	if err := open(whole); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for bit := range 8 {
			data := bytes.Clone(whole)
			data[i] ^= 1 << bit
			if open(data) == nil {
				t.Fatalf("bit %d of byte %d may change unseen", bit, i)
			}
		}
	}
	for size := range whole {
		if open(whole[:size]) == nil {
			t.Fatalf("%d of %d bytes are accepted", size, len(whole))
		}
	}
	if open(append(bytes.Clone(whole), 0)) == nil {
		t.Error("a byte too many is accepted")
	}
	// Damage to the values of a tensor names it, on disk too.
	for offset, name := range map[int]string{1: "odd", 16: "embed.weight"} {
		data := bytes.Clone(whole)
		at := len(data) - 5 - offset // the last tensor has five bytes
		if name == "embed.weight" {
			at = len(data) - 5 - 6 - 4 - 3
		}
		data[at] ^= 4
		_, err := OpenVerified(check.File(t, "damaged.safetensors", data))
		check.Error(t, err, fmt.Sprintf("%q", name), "damaged.safetensors")
	}
	_, err = OpenVerified(check.File(t, "cut.safetensors", whole[:len(whole)-8]))
	check.Error(t, err, `"odd"`, "truncated")
	_, err = OpenVerified(check.File(t, "foreign.safetensors", []byte("PK\x03\x04 some other file")))
	check.Error(t, err, "not a safetensors file")
	_, err = OpenVerified(check.File(t, "empty.safetensors", nil))
	check.Error(t, err, "0 bytes")
	_, err = OpenVerified(filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// rawFile returns a file with this header and so many bytes of data.
func rawFile(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestSpec6SafetensorsHeaders(t *testing.T) {
	const u8 = `{"dtype":"U8","shape":[4],"data_offsets":[0,4]}`
	cases := []struct {
		header string
		data   int
		want   string // of the error; empty: accepted
	}{
		{`{"a":` + u8 + `}`, 4, ""},
		{`{"a":` + u8 + `}   `, 4, ""},
		{`{}`, 0, ""},
		{`{"__metadata__":{}}`, 0, ""},
		{`{"a":{"shape":[],"data_offsets":[0,1],"dtype":"BOOL"}}`, 1, ""},
		{`{"a":` + u8 + `}`, 5, "the file has 5"},
		{`{"a":` + u8 + `}`, 3, `tensor "a" ends at byte 4`},
		{`{"a":` + u8 + `,"a":` + u8 + `}`, 4, `"a" is there twice`},
		{`{"a":` + u8 + `,"b":` + u8 + `}`, 4, `"b" begins at byte 0`},
		{`{"a":` + u8 + `,"\u0061":` + u8 + `}`, 4, "twice"},
		{`{"a":` + u8 + `,"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}`, 6, `"b" begins at byte 2`},
		{`{"a":` + u8 + `,"b":{"dtype":"U8","shape":[4],"data_offsets":[5,9]}}`, 9, `"b" begins at byte 5`},
		{`{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}`, 4, "offsets are 4 and 0"},
		{`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4,8]}}`, 4, "2 integers"},
		{`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0]}}`, 4, "the two data_offsets"},
		{`{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,4]}}`, 4, "has 16 bytes"},
		{`{"a":{"dtype":"F33","shape":[4],"data_offsets":[0,4]}}`, 4, `unknown dtype "F33"`},
		{`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0, "too large"},
		{`{"a":{"dtype":"F32","shape":[2147483648,4294967296],"data_offsets":[0,0]}}`, 0, "too large"},
		{`{"a":{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,0]}}`, 0, "integers"},
		{`{"a":{"dtype":"U8","shape":[-4],"data_offsets":[0,4]}}`, 4, "integers"},
		{`{"a":{"dtype":"U8","shape":[4.0],"data_offsets":[0,4]}}`, 4, "integers"},
		{`{"a":{"dtype":"U8","shape":["4"],"data_offsets":[0,4]}}`, 4, "integers"},
		{`{"a":{"dtype":"U8","shape":[` + strings.Repeat("1,", 64) + `1],"data_offsets":[0,1]}}`, 1, "64 integers"},
		{`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"more":1}}`, 4, `unknown key "more"`},
		{`{"a":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 4, `"dtype" is there twice`},
		{`{"a":{"dtype":7,"shape":[4],"data_offsets":[0,4]}}`, 4, "want a string"},
		{`{"a":[` + strings.Repeat("[", 1000) + `}`, 0, "want {"},
		{`{"__metadata__":{"a":1}}`, 0, `metadata "a"`},
		{`{"__metadata__":{"a":"1","a":"2"}}`, 0, `metadata "a" is there twice`},
		{`{"__metadata__":{},"__metadata__":{}}`, 0, "__metadata__ is there twice"},
		{`{"__metadata__":{"lemnos.sha256":"abc"}}`, 0, "64 digits"},
		{`{"a":` + u8, 4, "header"},
		{`{"a":` + u8 + `}}`, 4, "after the closing brace"},
		{`[]`, 0, "not begin with {"},
		{"", 0, "not begin with {"},
		{"{\"\xff\":" + u8 + `}`, 4, "not UTF-8"},
	}
	for _, c := range cases {
		path := check.File(t, "x.safetensors", rawFile(c.header, c.data))
		f, err := Open(path)
		if c.want != "" {
			check.Error(t, err, c.want, "x.safetensors")
		} else if err != nil {
			t.Errorf("%s: %v", c.header, err)
		}
		if err == nil {
			f.Close()
		}
	}
	huge := binary.LittleEndian.AppendUint64(nil, math.MaxUint64)
	_, err := Open(check.File(t, "huge", append(huge, '{')))
	check.Error(t, err, "18446744073709551615 bytes", "100000000")
	for _, text := range []string{"Hello, World!\n", strings.Repeat("Überall ", 100)} {
		_, err = Open(check.File(t, "text", []byte(text)))
		check.Error(t, err, "not a safetensors file, but a text")
	}
	long := binary.LittleEndian.AppendUint64(nil, 50_000_000)
	_, err = Open(check.File(t, "long", append(long, '{')))
	check.Error(t, err, "should end at byte 50000008", "truncated")
}

func TestSpec6SaveFileErrors(t *testing.T) {
	failed := errors.New("the device is lost")
	cases := []struct {
		meta    map[string]string
		entries []Entry
		want    string
	}{
		{nil, []Entry{entry("a", "F32", count(7), 2)}, `tensor "a": 7 of its 8 bytes`},
		{nil, []Entry{entry("a", "F32", count(9), 2)}, `tensor "a": more bytes`},
		{nil, []Entry{entry("a", "F31", count(8), 2)}, `tensor "a": unknown dtype "F31"`},
		{nil, []Entry{entry("a", "F32", count(8), -2)}, "impossible dimension -2"},
		{nil, []Entry{entry("a", "F32", count(8), math.MaxInt, 3)}, "too large"},
		{nil, []Entry{entry("a", "F32", count(8), make([]int, 65)...)}, "65 dimensions"},
		{nil, []Entry{entry("a", "U8", count(2), 2), entry("a", "U8", count(2), 2)}, `"a" is used twice`},
		{nil, []Entry{entry("__metadata__", "U8", count(2), 2)}, "reserved"},
		{nil, []Entry{entry("\xff", "U8", count(2), 2)}, "not UTF-8"},
		{map[string]string{"a": "\xff"}, nil, `metadata "a" is not UTF-8`},
		{map[string]string{"lemnos.sha256": ""}, nil, `metadata "lemnos.sha256" is reserved`},
		{nil, []Entry{{Name: "a", DType: "U8", Shape: []int{1}, Write: func(io.Writer) error { return failed }}}, `tensor "a": the device is lost`},
		{nil, []Entry{{Name: "a", DType: "U8", Shape: []int{1}, Write: func(w io.Writer) error { w.Write(count(2)); w.Write(count(1)); return nil }}}, "more bytes"},
	}
	for _, c := range cases {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.safetensors")
		check.Error(t, Save(path, c.meta, c.entries), c.want, "x.safetensors")
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: %s was left behind", c.want, left[0].Name())
		}
	}
}

// 64 MiB go through less than 2 MiB of memory in each direction.
func TestSpec6SafetensorsStream(t *testing.T) {
	const size = 64 << 20
	block := count(1 << 16)
	big := Entry{Name: "big", DType: "F32", Shape: []int{size / 4}, Write: func(w io.Writer) error {
		for range size / len(block) {
			if _, err := w.Write(block); err != nil {
				return err
			}
		}
		return nil
	}}
	path := filepath.Join(t.TempDir(), "big.safetensors")
	if used := hostile.Allocated(func() {
		if err := Save(path, nil, []Entry{big}); err != nil {
			t.Fatal(err)
		}
	}); used > 2<<20 {
		t.Errorf("saving took %d bytes of memory", used)
	}
	if used := hostile.Allocated(func() {
		f, err := OpenVerified(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}); used > 2<<20 {
		t.Errorf("opening took %d bytes of memory", used)
	}
}
