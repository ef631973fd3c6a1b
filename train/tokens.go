package train

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"path/filepath"
	"strings"
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
	err    error    // of a Slice outside its tokens; every method that reads returns it
	close  func() error
}

// tokenSource reads len(dst) tokens from position i on; the range is already checked. Neither method allocates.
type tokenSource interface {
	read(dst []int32, i int64) error
	read16(dst []uint16, i int64) error
}

// TokenOptions say how to read a raw token file.
type TokenOptions struct {
	// Width is the number of bytes of one token in a raw file: 2 (uint16) or 4 (uint32). 0 means what the file, its
	// sidecar or Vocab says. One that differs from what the file says is an error.
	Width int
	// Vocab is the size of the vocabulary: up to 65,536 a raw file without header and sidecar has tokens of 2 bytes,
	// above of 4. 0 means 2 bytes.
	Vocab int
}

// TokenID is the type of a token id in memory.
type TokenID interface {
	~uint8 | ~uint16 | ~uint32 | ~int32
}

// NewTokens returns the tokens of a slice. The slice is not copied: it must not change while the Tokens are used.
func NewTokens[T TokenID](ids []T) *Tokens {
	width := 4
	var one T
	if one--; uint64(one) <= math.MaxUint16 { // the largest value of an unsigned type, -1 of int32
		width = 2
	}
	return &Tokens{source: memory[T](ids), name: "the token array", n: int64(len(ids)), width: width}
}

// TextTokens returns the bytes of a text as tokens of a vocabulary of 256. The text is not copied.
func TextTokens(text []byte) *Tokens { return NewTokens(text) }

// OpenTokens maps a token file: NumPy's format where the name ends in .npy, llm.c's where it begins with its header
// (modded-nanogpt has the same), else raw little-endian ids, of which a sidecar (see [TokenizeFiles]) or o says how wide
// they are. A .npy array must have one dimension and an integer type of little-endian order (uint8 to uint64, int8 to
// int64); ids below 0 or above 2^31-1 are errors when they are read. A nil o means the defaults.
func OpenTokens(path string, o *TokenOptions) (*Tokens, error) {
	if o == nil {
		o = new(TokenOptions)
	}
	if o.Width != 0 && o.Width != 2 && o.Width != 4 {
		return nil, fmt.Errorf("train: token width %d is neither 2 nor 4 bytes", o.Width)
	}
	file, err := openMapped(path)
	if err != nil {
		return nil, err
	}
	layout, about, err := tokenLayout(file, path, o)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	width := 4
	if !layout.signed && layout.width <= 2 {
		width = 2
	}
	return &Tokens{source: &tokenFile{file, layout}, name: path, n: layout.n, width: width, about: about, close: file.Close}, nil
}

// tokenLayout says where in the file the ids lie and how they are stored, and what its sidecar says.
func tokenLayout(file *mapped, path string, o *TokenOptions) (layout npyArray, about *sidecar, err error) {
	var read func(io.ReaderAt, int64) (npyArray, error)
	if strings.EqualFold(filepath.Ext(path), ".npy") {
		read = parseNPY
	} else if hasLLMCHeader(file) {
		read = parseLLMC
	}
	if read == nil {
		return rawLayout(file, path, o)
	}
	if layout, err = read(file, file.Size()); err != nil {
		return layout, nil, fmt.Errorf("train: %s: %w", path, err)
	}
	if o.Width != 0 && o.Width != layout.width {
		return layout, nil, fmt.Errorf("train: %s holds ids of %d bytes, but a token width of %d was asked for", path, layout.width, o.Width)
	}
	return layout, nil, nil
}

// rawLayout is that of a file without a header.
func rawLayout(file *mapped, path string, o *TokenOptions) (npyArray, *sidecar, error) {
	about, err := readSidecar(path)
	if err != nil {
		return npyArray{}, nil, fmt.Errorf("train: %w", err)
	}
	size, width := file.Size(), o.Width
	if about != nil {
		if size != about.Tokens*int64(about.Width) {
			return npyArray{}, nil, stale(path, "it says %d tokens of %d bytes, the file has %d bytes", about.Tokens, about.Width, size)
		}
		if width != 0 && width != about.Width {
			return npyArray{}, nil, fmt.Errorf("train: %s%s says that tokens have %d bytes, but a token width of %d was asked for", path, sidecarExt, about.Width, width)
		}
		return npyArray{n: about.Tokens, width: about.Width}, about, nil
	}
	head := make([]byte, min(512, size))
	if _, err := file.ReadAt(head, 0); err != nil && err != io.EOF {
		return npyArray{}, nil, err
	}
	if what := notTokens(head); what != "" {
		return npyArray{}, nil, fmt.Errorf("train: %s is no token file, but %s", path, what)
	}
	if width == 0 {
		width = tokenWidth(o.Vocab)
	}
	if size%int64(width) != 0 {
		return npyArray{}, nil, fmt.Errorf("train: the length of %s, %d bytes, is not a multiple of the token size %d", path, size, width)
	}
	layout := npyArray{n: size / int64(width), width: width}
	if o.Width == 0 {
		if err := checkWider(file, path, layout); err != nil {
			return npyArray{}, nil, err
		}
	}
	return layout, nil, nil
}

// checkWider reports ids that are probably the halves of ids twice as wide: each second one is 0.
func checkWider(file *mapped, path string, layout npyArray) error {
	ids := make([]int32, min(layout.n/2*2, 1<<16))
	if len(ids) < 8 || (&tokenFile{file, layout}).read(ids, 0) != nil {
		return nil
	}
	used := 0
	for i := 0; i < len(ids); i += 2 {
		if ids[i+1] != 0 {
			return nil
		}
		if ids[i] != 0 {
			used++
		}
	}
	if used < len(ids)/4 { // the others are mostly 0 too
		return nil
	}
	return fmt.Errorf("train: read as tokens of %d bytes, every second one of %s is 0: they probably have %d bytes. Say how many with token_width (2 or 4), or keep them as a .npy file",
		layout.width, path, 2*layout.width)
}

// tokenWidth returns the bytes of a token of a vocabulary in a raw token file.
func tokenWidth(vocab int) int {
	if vocab <= math.MaxUint16+1 {
		return 2
	}
	return 4
}

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
		s.n, s.err = 0, fmt.Errorf("train: positions %d to %d of %s, which has %d tokens", lo, hi, t.name, t.n)
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
	return t.source.read(dst, t.first+i)
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
		return fmt.Errorf("train: %d tokens from position %d on are outside %s, which has %d", count, i, t.name, t.n)
	}
	return nil
}

// CheckVocab reads every token once and returns an error that names the first one outside [0, v), its position and,
// for a file, the position in the file.
func (t *Tokens) CheckVocab(v int) error {
	_, err := t.check(context.Background(), v, nil)
	return err
}

// check is CheckVocab, and tells these tokens from others. p may be nil.
func (t *Tokens) check(ctx context.Context, v int, p *progress) (tokenSum, error) {
	if t.err != nil {
		return tokenSum{}, t.err
	}
	sum, raw := uint32(0), make([]byte, 0, 4*blockIDs)
	i := t.first
	err := eachBlock(ctx, t, 0, t.n, func(ids []int32) error {
		raw = raw[:0]
		for _, id := range ids {
			if int(id) >= v {
				return fmt.Errorf("train: token %d at position %d of %s is outside the vocabulary of %d", id, i, t.name, v)
			}
			raw = binary.LittleEndian.AppendUint32(raw, uint32(id))
			i++
		}
		sum = crc32.Update(sum, castagnoli, raw)
		p.add(len(ids))
		return nil
	})
	return tokenSum{t.n, fmt.Sprintf("%08x", sum)}, err
}

// Fits reports an error unless at least one window of m inputs and its targets fit, which is m+1 tokens.
func (t *Tokens) Fits(m int) error {
	if t == nil {
		return errors.New("train: there are no tokens")
	}
	if t.err != nil {
		return t.err
	}
	if m < 1 {
		return fmt.Errorf("train: context length %d is not positive", m)
	}
	if t.n-1 < int64(m) {
		return fmt.Errorf("train: %s has %d tokens, but one window of context length %d needs %d", t.name, t.n, m, uint(m)+1)
	}
	return nil
}

// blockIDs is how many tokens are read at once.
const blockIDs = 4096

// eachBlock calls f with the n tokens from position i on, block by block, until it returns an error or ctx ends.
func eachBlock(ctx context.Context, t *Tokens, i, n int64, f func(ids []int32) error) error {
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
type memory[T TokenID] []T

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

// tokenFile is a mapped file of ids as a tokenSource.
type tokenFile struct {
	file   *mapped
	layout npyArray
}

func (s *tokenFile) read(dst []int32, i int64) error {
	return readIDs(s, dst, i, math.MaxInt32, badToken)
}

func (s *tokenFile) read16(dst []uint16, i int64) error {
	return readIDs(s, dst, i, math.MaxUint16, badToken16)
}

func badToken(id string, position int64, name string) error {
	return fmt.Errorf("train: token %s at position %d of %s is not an id: ids go from 0 to %d", id, position, name, math.MaxInt32)
}

func badToken16(id string, position int64, name string) error {
	return fmt.Errorf("train: token %s at position %d of %s does not fit in 16 bits", id, position, name)
}

// readIDs reads len(dst) ids from position i on, block by block through the stack.
func readIDs[T int32 | uint16](s *tokenFile, dst []T, i int64, limit uint64, bad func(id string, position int64, name string) error) error {
	var block [8192]byte
	width := s.layout.width
	for len(dst) > 0 {
		count := min(len(dst), len(block)/width)
		raw := block[:count*width]
		if _, err := s.file.ReadAt(raw, s.layout.offset+i*int64(width)); err != nil {
			return fmt.Errorf("train: reading %d tokens of %s from position %d on: %w", count, s.file.path, i, err)
		}
		for j := range count {
			id := littleEndian(raw[j*width:], width)
			if s.layout.signed {
				shift := 64 - 8*width
				id = uint64(int64(id<<shift) >> shift)
			}
			if id > limit {
				text := fmt.Sprint(id)
				if s.layout.signed {
					text = fmt.Sprint(int64(id))
				}
				return bad(text, i+int64(j), s.file.path)
			}
			dst[j] = T(id)
		}
		dst, i = dst[count:], i+int64(count)
	}
	return nil
}

func littleEndian(b []byte, width int) uint64 {
	switch width {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	default:
		return binary.LittleEndian.Uint64(b)
	}
}
