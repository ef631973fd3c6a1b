// Package eventtest reads event files in tests, as TensorBoard does.
package eventtest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// Event is a record of an event file.
type Event struct {
	Wall    float64 // Unix time in seconds
	Step    int64
	Version string
	Start   bool
	Values  []Value
}

// Value is one of an event.
type Value struct {
	Tag, Plugin string
	Scalar      *float32
	Text        string
	Histogram   *Histogram
}

// Histogram is one of an event.
type Histogram struct {
	Min, Max, Num, Sum, SumSquares float64
	Limits, Counts                 []float64
}

// fields are those of a message, in the order that each number has them.
type fields map[protowire.Number][][]byte

// parse returns the fields of a message; numbers are 8 bytes, little-endian.
func parse(t testing.TB, b []byte) fields {
	t.Helper()
	all := fields{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatalf("a field: %v", protowire.ParseError(n))
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(number, kind, b)
		if size < 0 {
			t.Fatalf("field %d: %v", number, protowire.ParseError(size))
		}
		value := b[:size]
		switch kind {
		case protowire.BytesType:
			value, _ = protowire.ConsumeBytes(value)
		case protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			value = binary.LittleEndian.AppendUint64(nil, v)
		}
		all[number] = append(all[number], value)
		b = b[size:]
	}
	return all
}

func (f fields) bytes(n protowire.Number) []byte {
	if len(f[n]) == 0 {
		return nil
	}
	return f[n][0]
}

func (f fields) integer(n protowire.Number) int64 {
	if len(f[n]) == 0 {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(f[n][0]))
}

func doubles(b []byte) []float64 {
	all := make([]float64, len(b)/8)
	for i := range all {
		all[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return all
}

func (f fields) double(n protowire.Number) float64 { return append(doubles(f.bytes(n)), 0)[0] }

// File reads a file. torn says that its last record is not whole.
func File(t testing.TB, path string) (events []Event, torn bool) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 {
		if len(data) < 12 {
			return events, true
		}
		n := binary.LittleEndian.Uint64(data)
		check(t, path, data[:8], data[8:])
		if uint64(len(data)) < 12+n+4 {
			return events, true
		}
		check(t, path, data[12:12+n], data[12+n:])
		events = append(events, event(t, data[12:12+n]))
		data = data[12+n+4:]
	}
	return events, false
}

func check(t testing.TB, path string, data, sum []byte) {
	t.Helper()
	c := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	if want := c>>15 + c<<17 + 0xa282ead8; binary.LittleEndian.Uint32(sum) != want {
		t.Fatalf("%s: checksum %x, want %x", path, sum[:4], want)
	}
}

func event(t testing.TB, data []byte) Event {
	t.Helper()
	f := parse(t, data)
	e := Event{Wall: f.double(1), Step: f.integer(2), Version: string(f.bytes(3)), Start: parse(t, f.bytes(7)).integer(1) == 1}
	for _, raw := range parse(t, f.bytes(5))[1] {
		v := parse(t, raw)
		value := Value{Tag: string(v.bytes(1)), Plugin: string(parse(t, parse(t, v.bytes(9)).bytes(1)).bytes(1)), Text: string(parse(t, v.bytes(8)).bytes(8))}
		if b := v.bytes(2); b != nil {
			value.Scalar = new(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
		if b := v.bytes(5); b != nil {
			h := parse(t, b)
			value.Histogram = &Histogram{h.double(1), h.double(2), h.double(3), h.double(4), h.double(5), doubles(h.bytes(6)), doubles(h.bytes(7))}
		}
		e.Values = append(e.Values, value)
	}
	return e
}

// Run reads the event files of a folder in their order, and drops what a later start makes void.
func Run(t testing.TB, dir string) (events []Event) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*tfevents*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("event files in %s: %q, %v", dir, paths, err)
	}
	for _, path := range paths { // sorted
		more, _ := File(t, path)
		if len(more) > 0 && more[0].Version != "brain.Event:2" {
			t.Fatalf("%s begins with %+v", path, more[0])
		}
		for _, e := range more {
			if e.Start {
				kept := events[:0]
				for _, old := range events {
					if old.Step < e.Step {
						kept = append(kept, old)
					}
				}
				events = kept
			}
			events = append(events, e)
		}
	}
	return events
}

// Scalars lists the values of a tag, as step=value.
func Scalars(events []Event, tag string) (all []string) {
	for _, e := range events {
		for _, v := range e.Values {
			if v.Tag == tag && v.Scalar != nil {
				all = append(all, fmt.Sprintf("%d=%v", e.Step, *v.Scalar))
			}
		}
	}
	return all
}
