package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/check"
)

func openTestTokens(t *testing.T, path string, o *TokenOptions) *Tokens {
	t.Helper()
	tokens, err := OpenTokens(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tokens.Close() })
	return tokens
}

func little[T any](t *testing.T, values []T) []byte {
	t.Helper()
	b, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSpec5RawTokens(t *testing.T) {
	ids16 := make([]uint16, 10_000) // more than one block of the reader
	ids32 := make([]uint32, len(ids16))
	for i := range ids16 {
		ids16[i] = uint16(i * 13)
		ids32[i] = uint32(i) * 70_001
	}
	sources := map[string]struct {
		tokens *Tokens
		width  int
		id     func(i int) int32
	}{
		"u16 file":   {openTestTokens(t, check.File(t, "a.bin", little(t, ids16)), nil), 2, func(i int) int32 { return int32(ids16[i]) }},
		"u32 file":   {openTestTokens(t, check.File(t, "a.bin", little(t, ids32)), &TokenOptions{Width: 4}), 4, func(i int) int32 { return int32(ids32[i]) }},
		"u16 memory": {NewTokens(ids16), 2, func(i int) int32 { return int32(ids16[i]) }},
		"u32 memory": {NewTokens(ids32), 4, func(i int) int32 { return int32(ids32[i]) }},
		"slice":      {NewTokens(slices.Concat([]uint16{1, 2}, ids16, []uint16{3})).Slice(1, int64(len(ids16))+3).Slice(1, int64(len(ids16))+1), 2, func(i int) int32 { return int32(ids16[i]) }},
	}
	for name, s := range sources {
		if s.tokens.Len() != int64(len(ids16)) || s.tokens.Width() != s.width {
			t.Errorf("%s: %d tokens of width %d", name, s.tokens.Len(), s.tokens.Width())
		}
		dst := make([]int32, 9_000)
		if err := s.tokens.Read(dst, 17); err != nil {
			t.Fatal(name, err)
		}
		for j, id := range dst {
			if id != s.id(17+j) {
				t.Fatalf("%s: token %d is %d, want %d", name, 17+j, id, s.id(17+j))
			}
		}
		if id, err := s.tokens.At(9_999); err != nil || id != s.id(9_999) {
			t.Errorf("%s: At: %d, %v", name, id, err)
		}
		short := make([]uint16, 3)
		if err := s.tokens.Read16(short, 0); s.width == 2 && (err != nil || int32(short[2]) != s.id(2)) {
			t.Errorf("%s: Read16: %v, %v", name, short, err)
		} else if s.width == 4 {
			check.Error(t, err, "70001", "position 1", "16 bits")
		}
		for _, i := range []int64{-1, 1_001, 10_001, 1 << 62} {
			check.Error(t, s.tokens.Read(dst, i), "9000 tokens", "has 10000")
		}
		check.NoAllocs(t, name+": Read", func() { s.tokens.Read(dst, 17) })
	}
	text := TextTokens([]byte("aé"))
	if id, err := text.At(2); err != nil || id != 0xa9 || text.Len() != 3 || text.Width() != 2 {
		t.Errorf("text: %d, %v, %d tokens, width %d", id, err, text.Len(), text.Width())
	}
}

func TestSpec5TokenErrors(t *testing.T) {
	_, err := OpenTokens(check.File(t, "odd.bin", make([]byte, 7)), nil)
	check.Error(t, err, "odd.bin", "7 bytes", "token size 2")
	_, err = OpenTokens(check.File(t, "odd.bin", make([]byte, 6)), &TokenOptions{Width: 4})
	check.Error(t, err, "6 bytes", "token size 4")
	_, err = OpenTokens("whatever", &TokenOptions{Width: 3})
	check.Error(t, err, "token width 3")
	_, err = OpenTokens(filepath.Join(t.TempDir(), "none.bin"), nil)
	check.Error(t, err, "none.bin")
	folder := t.TempDir()
	_, err = OpenTokens(folder, nil)
	check.Error(t, err, folder)

	path := check.File(t, "big.bin", little(t, []uint32{1, 1 << 31, 2}))
	big := openTestTokens(t, path, &TokenOptions{Width: 4})
	check.Error(t, big.Read(make([]int32, 3), 0), "token 2147483648", "position 1", "big.bin")
	check.Error(t, NewTokens([]int32{4, -7}).CheckVocab(10), "token -7", "position 1")

	ids := make([]uint16, 10_000)
	ids[9_000] = 256
	tokens := openTestTokens(t, check.File(t, "v.bin", little(t, ids)), nil)
	if err := tokens.CheckVocab(257); err != nil {
		t.Error(err)
	}
	check.Error(t, tokens.CheckVocab(256), "token 256", "position 9000", "vocabulary of 256", "v.bin")
	check.Error(t, tokens.Slice(8_999, 9_005).CheckVocab(256), "position 9000")
	if err := tokens.Slice(9_001, 10_000).CheckVocab(1); err != nil {
		t.Error(err)
	}

	if err := tokens.Fits(9_999); err != nil {
		t.Error(err)
	}
	check.Error(t, tokens.Fits(10_000), "10000 tokens", "needs 10001", "v.bin")
	check.Error(t, tokens.Fits(0), "context length 0")
	for _, r := range [][2]int64{{-1, 5}, {6, 5}, {0, 10_001}, {1 << 62, -1 << 62}} {
		outside := tokens.Slice(r[0], r[1])
		for _, err := range []error{outside.Fits(1), outside.CheckVocab(300), outside.Read(nil, 0), outside.Slice(0, 0).Fits(1)} {
			check.Error(t, err, fmt.Sprintf("positions %d to %d", r[0], r[1]), "v.bin", "10000 tokens")
		}
	}
	empty := openTestTokens(t, check.File(t, "empty.bin", nil), nil)
	check.Error(t, empty.Fits(1), "0 tokens", "needs 2")
	if err := tokens.Close(); err != nil {
		t.Error(err)
	}
	check.Error(t, tokens.Read(make([]int32, 1), 0), "has 0")
	if err := tokens.Close(); err != nil {
		t.Error("second Close:", err)
	}
}

// A mapping of a file that another process cuts short must be an error, not the end of the process.
func TestSpec5TokensFileCutShort(t *testing.T) {
	path := check.File(t, "cut.bin", make([]byte, 1<<20))
	tokens := openTestTokens(t, path, nil)
	if err := os.Truncate(path, 100); err != nil {
		if runtime.GOOS == "windows" {
			return // mapped files can't be shortened there
		}
		t.Fatal(err)
	}
	check.Error(t, tokens.Read(make([]int32, 1000), 1<<18), "cut.bin")
	check.Error(t, tokens.Read(make([]int32, 10), 45), "cut.bin was cut short", "had 1048576 bytes and has 100") // its last page reads as zeros
	if err := tokens.Read(make([]int32, 10), 0); err != nil {
		t.Error(err)
	}
}

// Tokens that were checked are checked again when they are read.
func TestTokensChangedLater(t *testing.T) {
	path := check.File(t, "a.bin", make([]byte, 200))
	tokens := openTestTokens(t, path, nil).below(10)
	if err := os.WriteFile(path, bytes.Repeat([]byte{10, 0}, 100), 0o666); err != nil {
		t.Fatal(err)
	}
	check.Error(t, tokens.Slice(3, 9).Read(make([]int32, 2), 1), "a.bin was changed while it was in use", "token 10 at position 4 is outside the vocabulary of 10")
}

func TestSpec5NumPyFiles(t *testing.T) {
	cases := []struct {
		file  string
		width int
		want  []int32
		bad   string // what the token after want is
	}{
		{"u2.npy", 2, []int32{0, 7000, 14000, 21000, 28000, 35000, 42000, 49000, 56000, 63000}, ""},
		{"u4.npy", 4, []int32{0, 65536, 1<<31 - 1}, "2147483648"},
		{"i8.npy", 4, []int32{5, 1<<31 - 1}, "-1"},
		{"v2.npy", 2, []int32{0, 1, 2, 3, 4}, ""},
		{"v3.npy", 4, []int32{0, 1, 2, 3, 4}, ""},
	}
	for _, c := range cases {
		tokens := openTestTokens(t, filepath.Join("testdata", c.file), nil)
		got := make([]int32, len(c.want))
		if err := tokens.Read(got, 0); err != nil || !slices.Equal(got, c.want) || tokens.Width() != c.width {
			t.Errorf("%s: %v of width %d, %v", c.file, got, tokens.Width(), err)
		}
		if c.bad == "" {
			if tokens.Len() != int64(len(c.want)) {
				t.Errorf("%s: %d tokens", c.file, tokens.Len())
			}
			continue
		}
		_, err := tokens.At(int64(len(c.want)))
		check.Error(t, err, "token "+c.bad+" at")
		if tokens.CheckVocab(1<<31-1) == nil {
			t.Errorf("%s: CheckVocab accepts it", c.file)
		}
	}
	_, err := OpenTokens("testdata/u4.npy", &TokenOptions{Width: 2})
	check.Error(t, err, "ids of 4 bytes", "width of 2")
}

// npy returns a version 1.0 file.
func npy(header string, data int) []byte {
	b := append([]byte(npyMagic+"\x01\x00"), byte(len(header)), byte(len(header)>>8))
	return append(append(b, header...), make([]byte, data)...)
}

func TestSpec5NumPyErrors(t *testing.T) {
	good := "{'descr': '<u2', 'fortran_order': False, 'shape': (5,), }"
	whole := npy(good, 10)
	if _, err := parseNPY(bytes.NewReader(whole), int64(len(whole))); err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		if _, err := parseNPY(bytes.NewReader(whole[:cut]), int64(cut)); err == nil {
			t.Errorf("%d of %d bytes were accepted", cut, len(whole))
		}
	}
	cases := []struct {
		data []byte
		want string
	}{
		{npy(good, 11), "promises 5 values of 2 bytes, but 11 bytes follow"},
		{npy(good, 8), "8 bytes follow"},
		{npy("{'descr': '>u2', 'fortran_order': False, 'shape': (5,), }", 10), `">u2"`},
		{npy("{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }", 20), `"<f4"`},
		{npy("{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (5,), }", 10), "want a string"},
		{npy("{'descr': '<u2', 'fortran_order': True, 'shape': (5,), }", 10), "fortran_order"},
		{npy("{'descr': '<u2', 'fortran_order': False, 'shape': (5, 1), }", 10), "2 dimensions"},
		{npy("{'descr': '<u2', 'fortran_order': False, 'shape': (), }", 2), "0 dimensions"},
		{npy("{'descr': '<u2', 'fortran_order': False, 'shape': (99999999999999999999,), }", 2), "a dimension"},
		{npy("{'descr': '<u2', 'fortran_order': False, 'shape': (1000000000000000000,), }", 2), "promises 1000000000000000000"},
		{npy("{'descr': '<u2', 'fortran_order': False, 'shape': (-5,), }", 10), "a dimension"},
		{npy("{'descr': '<u2', 'fortran_order': False}", 0), "missing"},
		{npy("{'descr': '<u2', 'descr': '<u2', 'fortran_order': False, 'shape': (5,)}", 10), "twice"},
		{npy("{'other': '<u2'}", 0), `"other"`},
		{npy(good+"x", 10), "after the closing brace"},
		{npy("  ", 0), "want"},
		{[]byte("PK\x03\x04 a zip file, .npz"), "not a .npy file"},
		{[]byte(npyMagic + "\x04\x00 what is to come"), "version 4.0"},
		{[]byte(npyMagic + "\x02\x00\xff\xff\xff\xff"), "should end at byte 4294967307"},
		{append([]byte(npyMagic+"\x02\x00\x00\x00\x02\x00"), make([]byte, 1<<18)...), "131072 bytes, more than"},
	}
	for _, c := range cases {
		_, err := OpenTokens(check.File(t, "x.npy", c.data), nil)
		check.Error(t, err, c.want, "x.npy")
	}
}
