package data

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/meter"
)

// Tokens is a flat array of token ids, in memory or in a memory-mapped file that is never read whole.
//
// Any number of goroutines may read it. Close only after the last of them (and every Sampler, Windows, Prefetcher and
// Slice on it) is done.
type Tokens struct {
	source tokenSource
	name   string // for errors
	first  int64  // in source
	n      int64
	width  int
	about  *sidecar // what the file beside it says; nil without one
	vocab  int      // that all ids were found to be below; 0 where that was not checked
	err    error    // of a Slice outside its tokens; every method that reads returns it
	close  func() error
}

// tokenSource reads len(dst) tokens from position i on; the range is already checked. Neither method allocates.
type tokenSource interface {
	read(dst []int32, i int64) error
	read16(dst []uint16, i int64) error
}

// ID is the type of a token id in memory.
type ID interface {
	~uint8 | ~uint16 | ~uint32 | ~int32
}

// NewTokens returns the tokens of a slice. The slice is not copied: it must not change while the Tokens are used.
func NewTokens[T ID](ids []T) *Tokens {
	width := 4
	var one T
	if one--; uint64(one) <= math.MaxUint16 { // the largest value of an unsigned type, -1 of int32
		width = 2
	}
	return &Tokens{source: memory[T](ids), name: "the token array", n: int64(len(ids)), width: width}
}

// TextTokens returns the bytes of a text as tokens of a vocabulary of 256. The text is not copied.
func TextTokens(text []byte) *Tokens { return NewTokens(text) }

// castagnoli is the table of the tokens' checksum.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Len returns the number of tokens.
func (t *Tokens) Len() int64 { return t.n }

// Width is the number of bytes that hold every id of this array: 2 where the ids are stored as unsigned integers of at
// most 16 bits, else 4.
func (t *Tokens) Width() int { return t.width }

// Name returns the path of the file, or "the token array" for a slice in memory.
func (t *Tokens) Name() string { return t.name }

// Slice returns the tokens of the positions lo <= i < hi, which become positions 0 and up. It copies nothing and
// needs no Close, but ends with t. Outside 0 <= lo <= hi <= Len it returns no tokens, and their Fits, CheckVocab and
// Read the error.
func (t *Tokens) Slice(lo, hi int64) *Tokens {
	s := *t
	s.first, s.n, s.close = t.first+lo, hi-lo, nil
	if s.err == nil && (lo < 0 || hi < lo || hi > t.n) {
		s.n, s.err = 0, fmt.Errorf("data: positions %d to %d of %s, which has %d tokens", lo, hi, t.name, t.n)
	}
	return &s
}

// Close unmaps the file. Closing tokens in memory, or twice, does nothing.
func (t *Tokens) Close() error {
	if t.close == nil {
		return nil
	}
	err := t.close()
	t.close, t.n = nil, 0
	return err
}

// At returns token i.
func (t *Tokens) At(i int64) (int32, error) {
	var id [1]int32
	err := t.Read(id[:], i)
	return id[0], err
}

// Read fills dst with the tokens from position i on. It allocates nothing.
func (t *Tokens) Read(dst []int32, i int64) error {
	if err := t.checkRange(i, len(dst)); err != nil {
		return err
	}
	if err := t.source.read(dst, t.first+i); err != nil {
		return err
	}
	if t.vocab > 0 {
		for j, id := range dst {
			if int(id) >= t.vocab {
				return fmt.Errorf("data: %s was changed while it was in use: token %d at position %d is outside the vocabulary of %d, and was not before", t.name, id, t.first+i+int64(j), t.vocab)
			}
		}
	}
	return nil
}

// below returns the tokens as ones of which all are known to be below vocab; if one is not any more, Read returns an
// error.
func (t *Tokens) below(vocab int) *Tokens {
	s := t.Slice(0, t.n)
	s.vocab = vocab
	return s
}

// Read16 is Read into 16 bits, the form in which the device holds ids of vocabularies up to 65,536. An id above 65,535
// is an error.
func (t *Tokens) Read16(dst []uint16, i int64) error {
	if err := t.checkRange(i, len(dst)); err != nil {
		return err
	}
	return t.source.read16(dst, t.first+i)
}

func (t *Tokens) checkRange(i int64, count int) error {
	if t.err != nil {
		return t.err
	}
	if i < 0 || i > t.n || int64(count) > t.n-i {
		return fmt.Errorf("data: %d tokens from position %d on are outside %s, which has %d", count, i, t.name, t.n)
	}
	return nil
}

// CheckVocab reads every token once and returns an error that names the first one outside [0, v), its position and,
// for a file, the position in the file.
func (t *Tokens) CheckVocab(v int) error {
	_, err := t.check(context.Background(), v, nil)
	return err
}

// check is CheckVocab, and tells these tokens from others. m may be nil.
func (t *Tokens) check(ctx context.Context, v int, m *meter.Meter) (Sum, error) {
	if t.err != nil {
		return Sum{}, t.err
	}
	sum, raw := uint32(0), make([]byte, 0, 4*blockIDs)
	i := t.first
	err := t.Each(ctx, 0, t.n, func(ids []int32) error {
		raw = raw[:0]
		for _, id := range ids {
			if int(id) >= v {
				return fault.Mismatchedf("data: token %d at position %d of %s is outside the vocabulary of %d", id, i, t.name, v)
			}
			raw = binary.LittleEndian.AppendUint32(raw, uint32(id))
			i++
		}
		sum = crc32.Update(sum, castagnoli, raw)
		m.Add(len(ids))
		return nil
	})
	return Sum{t.n, fmt.Sprintf("%08x", sum)}, err
}

// Fits reports an error unless at least one window of m inputs and its targets fit, which is m+1 tokens.
func (t *Tokens) Fits(m int) error {
	if t == nil {
		return errors.New("data: there are no tokens")
	}
	if t.err != nil {
		return t.err
	}
	if m < 1 {
		return fmt.Errorf("data: context length %d is not positive", m)
	}
	if t.n-1 < int64(m) {
		return fault.Mismatchedf("data: %s has %d tokens, but one window of context length %d needs %d", t.name, t.n, m, uint(m)+1)
	}
	return nil
}

// blockIDs is how many tokens are read at once.
const blockIDs = 4096

// Each calls f with the n tokens from position i on, block by block, until it returns an error or ctx ends. The ids
// are valid until f returns.
func (t *Tokens) Each(ctx context.Context, i, n int64, f func(ids []int32) error) error {
	var block [blockIDs]int32
	for n > 0 {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		ids := block[:min(int64(len(block)), n)]
		if err := t.Read(ids, i); err != nil {
			return err
		}
		if err := f(ids); err != nil {
			return err
		}
		i, n = i+int64(len(ids)), n-int64(len(ids))
	}
	return nil
}

// memory is a slice of ids as a tokenSource.
type memory[T ID] []T

func (s memory[T]) read(dst []int32, i int64) error {
	for j, id := range s[i : i+int64(len(dst))] {
		if int64(id) < 0 || int64(id) > math.MaxInt32 {
			return badToken(fmt.Sprint(id), i+int64(j), "the token array")
		}
		dst[j] = int32(id)
	}
	return nil
}

func (s memory[T]) read16(dst []uint16, i int64) error {
	for j, id := range s[i : i+int64(len(dst))] {
		if int64(id) < 0 || int64(id) > math.MaxUint16 {
			return badToken16(fmt.Sprint(id), i+int64(j), "the token array")
		}
		dst[j] = uint16(id)
	}
	return nil
}

func badToken(id string, position int64, name string) error {
	return fault.Damaged(fmt.Errorf("data: token %s at position %d of %s is not an id: ids go from 0 to %d", id, position, name, math.MaxInt32))
}

func badToken16(id string, position int64, name string) error {
	return fault.Mismatchedf("data: token %s at position %d of %s does not fit in 16 bits", id, position, name)
}
