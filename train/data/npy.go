package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
)

// npyArray is a one-dimensional array of integers inside a file.
type npyArray struct {
	offset int64 // of the first value
	n      int64
	width  int // bytes per value: 1, 2, 4 or 8
	signed bool
}

// maxNPYHeader is far above any header of an integer array: NumPy itself refuses more than 10,000 bytes.
const maxNPYHeader = 1 << 16

const npyMagic = "\x93NUMPY"

// parseNPY reads the header of a .npy file of the given size.
// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, versions 1.0, 2.0 and 3.0.
func parseNPY(r io.ReaderAt, size int64) (npyArray, error) {
	a, err := readNPY(r, size)
	return a, fault.Damaged(err)
}

func readNPY(r io.ReaderAt, size int64) (npyArray, error) {
	var start [12]byte
	n, err := r.ReadAt(start[:], 0)
	if err != nil && err != io.EOF {
		return npyArray{}, err
	}
	if n < len(start) || string(start[:6]) != npyMagic {
		return npyArray{}, errors.New("not a .npy file: it does not begin with \\x93NUMPY and a header")
	}
	var headerStart, length int64
	switch major, minor := start[6], start[7]; {
	case major == 1 && minor == 0:
		headerStart, length = 10, int64(binary.LittleEndian.Uint16(start[8:]))
	case (major == 2 || major == 3) && minor == 0:
		headerStart, length = 12, int64(binary.LittleEndian.Uint32(start[8:]))
	default:
		return npyArray{}, fault.Unsupportedf("unknown .npy version %d.%d", major, minor)
	}
	if length > size-headerStart {
		return npyArray{}, fmt.Errorf("truncated .npy file: its header should end at byte %d, the file has %d", headerStart+length, size)
	}
	if length > maxNPYHeader {
		return npyArray{}, fmt.Errorf("the .npy header has %d bytes, more than the %d of any array of integers", length, maxNPYHeader)
	}
	header := make([]byte, length)
	if _, err := io.ReadFull(io.NewSectionReader(r, headerStart, length), header); err != nil {
		return npyArray{}, err
	}
	a, err := parseNPYHeader(string(header))
	if err != nil {
		return npyArray{}, fmt.Errorf("foreign .npy header: %w", err)
	}
	a.offset = headerStart + length
	rest := size - a.offset
	if a.n > rest/int64(a.width) || a.n*int64(a.width) != rest {
		return npyArray{}, fmt.Errorf("truncated or foreign .npy file: the header promises %d values of %d bytes, but %d bytes follow it",
			a.n, a.width, rest)
	}
	return a, nil
}

// npyTypes are the types of array that can hold ids.
var npyTypes = map[string]npyArray{
	"|u1": {width: 1}, "<u2": {width: 2}, "<u4": {width: 4}, "<u8": {width: 8},
	"|i1": {width: 1, signed: true}, "<i2": {width: 2, signed: true}, "<i4": {width: 4, signed: true}, "<i8": {width: 8, signed: true},
}

// parseNPYHeader reads a header such as {'descr': '<u2', 'fortran_order': False, 'shape': (1000,), }.
func parseNPYHeader(text string) (npyArray, error) {
	var a npyArray
	seen := make(map[string]bool, 3)
	s := npyScanner{text: text}
	s.expect("{")
	for s.err == nil && !s.accept("}") {
		key := s.quoted()
		s.expect(":")
		if s.err == nil && seen[key] {
			return a, fmt.Errorf("%q is there twice", key)
		}
		seen[key] = true
		if err := a.set(key, &s); err != nil {
			return a, err
		}
		if !s.accept(",") {
			s.expect("}")
			break
		}
	}
	if s.space(); s.err == nil && s.text != "" {
		return a, fmt.Errorf("%d bytes after the closing brace", len(s.text))
	}
	if s.err == nil && len(seen) != 3 {
		return a, errors.New("one of descr, fortran_order, shape is missing")
	}
	return a, s.err
}

// set reads the value of one key.
func (a *npyArray) set(key string, s *npyScanner) error {
	switch key {
	case "descr":
		descr := s.quoted()
		t, ok := npyTypes[descr]
		if s.err == nil && !ok {
			return fault.Unsupportedf("descr %q is not a little-endian integer type", descr)
		}
		a.width, a.signed = t.width, t.signed
	case "fortran_order":
		if !s.accept("False") {
			return fault.Unsupportedf("fortran_order is not False")
		}
	case "shape":
		shape := s.tuple()
		if s.err == nil && len(shape) != 1 {
			return fault.Unsupportedf("the array has %d dimensions, want 1", len(shape))
		}
		if s.err == nil {
			a.n = shape[0]
		}
	default:
		if s.err == nil {
			return fmt.Errorf("unknown key %q", key)
		}
	}
	return s.err
}

// npyScanner reads the few Python literals of a header. The first error sticks.
type npyScanner struct {
	text string // what is left
	err  error
}

func (s *npyScanner) space() { s.text = strings.TrimLeft(s.text, " \t\r\n") }

func (s *npyScanner) accept(token string) bool {
	s.space()
	rest, ok := strings.CutPrefix(s.text, token)
	if ok && s.err == nil {
		s.text = rest
		return true
	}
	return false
}

func (s *npyScanner) expect(token string) {
	if !s.accept(token) {
		s.fail(fmt.Sprintf("%q", token))
	}
}

func (s *npyScanner) fail(want string) {
	if s.err == nil {
		s.err = fmt.Errorf("want %s before %q", want, s.text[:min(len(s.text), 20)])
	}
}

// quoted reads a string without escapes.
func (s *npyScanner) quoted() string {
	quote := "'"
	if !s.accept(quote) {
		if quote = `"`; !s.accept(quote) {
			s.fail("a string")
			return ""
		}
	}
	value, rest, ok := strings.Cut(s.text, quote)
	if !ok || strings.ContainsAny(value, "\\\n") {
		s.fail("the end of a string")
		return ""
	}
	s.text = rest
	return value
}

// tuple reads (), (1,) or (1, 2): at most 32 dimensions, as in NumPy.
func (s *npyScanner) tuple() []int64 {
	var dims []int64
	s.expect("(")
	for s.err == nil && !s.accept(")") {
		s.space()
		digits := len(s.text) - len(strings.TrimLeft(s.text, "0123456789"))
		dim, err := strconv.ParseInt(s.text[:digits], 10, 64)
		if err != nil || dim > math.MaxInt64/8 || len(dims) == 32 {
			s.fail("a dimension")
			return nil
		}
		s.text = s.text[digits:]
		dims = append(dims, dim)
		if !s.accept(",") {
			s.expect(")")
			break
		}
	}
	return dims
}
