package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// TokenOptions say how to read a raw token file.
type TokenOptions struct {
	// Width is the number of bytes of one token in a raw file: 2 (uint16) or 4 (uint32). 0 means what the file, its
	// sidecar or Vocab says. One that differs from what the file says is an error.
	Width int
	// Vocab is the size of the vocabulary: up to 65,536 a raw file without header and sidecar has tokens of 2 bytes,
	// above of 4. 0 means 2 bytes.
	Vocab int
}

// OpenTokens maps a token file: NumPy's format where the name ends in .npy, llm.c's where it begins with its header
// (modded-nanogpt has the same), else raw little-endian ids, of which a sidecar (see [Tokenize]) or o says how wide
// they are. A .npy array must have one dimension and an integer type of little-endian order (uint8 to uint64, int8 to
// int64); ids below 0 or above 2^31-1 are errors when they are read. A nil o means the defaults.
func OpenTokens(path string, o *TokenOptions) (*Tokens, error) {
	if o == nil {
		o = new(TokenOptions)
	}
	if o.Width != 0 && o.Width != 2 && o.Width != 4 {
		return nil, fmt.Errorf("data: token width %d is neither 2 nor 4 bytes", o.Width)
	}
	file, err := input.Map(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
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
func tokenLayout(file *input.Mapped, path string, o *TokenOptions) (layout npyArray, about *sidecar, err error) {
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
		return layout, nil, fmt.Errorf("data: %s: %w", path, fault.Damaged(err))
	}
	if o.Width != 0 && o.Width != layout.width {
		return layout, nil, fault.Mismatchedf("data: %s holds ids of %d bytes, but a token width of %d was asked for", path, layout.width, o.Width)
	}
	return layout, nil, nil
}

// rawLayout is that of a file without a header.
func rawLayout(file *input.Mapped, path string, o *TokenOptions) (npyArray, *sidecar, error) {
	about, err := readSidecar(path)
	if err != nil {
		return npyArray{}, nil, fmt.Errorf("data: %w", err)
	}
	size, width := file.Size(), o.Width
	if about != nil {
		if size != about.Tokens*int64(about.Width) {
			return npyArray{}, nil, stale(path, "it says %d tokens of %d bytes, the file has %d bytes", about.Tokens, about.Width, size)
		}
		if width != 0 && width != about.Width {
			return npyArray{}, nil, fault.Mismatchedf("data: %s%s says that tokens have %d bytes, but a token width of %d was asked for", path, sidecarExt, about.Width, width)
		}
		return npyArray{n: about.Tokens, width: about.Width}, about, nil
	}
	head := make([]byte, min(512, size))
	if _, err := file.ReadAt(head, 0); err != nil && err != io.EOF {
		return npyArray{}, nil, err
	}
	if what := notTokens(head); what != "" {
		return npyArray{}, nil, fault.Unsupportedf("data: %s is no token file, but %s", path, what)
	}
	if width == 0 {
		width = tokenWidth(o.Vocab)
	}
	if size%int64(width) != 0 {
		return npyArray{}, nil, fault.Damaged(fmt.Errorf("data: the length of %s, %d bytes, is not a multiple of the token size %d", path, size, width))
	}
	layout := npyArray{n: size / int64(width), width: width}
	return layout, nil, checkWider(file, path, layout)
}

// checkWider reports ids that are probably pieces of wider ids: each second half of those is 0.
func checkWider(file *input.Mapped, path string, layout npyArray) error {
	for _, wide := range []int{8, 4} {
		if wide <= layout.width || !hasEmptyHalves(file, wide) {
			continue
		}
		advice := "Say so with token_width, or keep them as a .npy file"
		if wide > 4 {
			advice = "Save them with 4 bytes, as with numpy's astype('<u4'), or as a .npy file"
		}
		return fault.Mismatchedf("data: read as tokens of %d bytes, every second one of %s, or more, is 0: they probably have %d bytes. %s", layout.width, path, wide, advice)
	}
	return nil
}

// hasEmptyHalves reports whether a raw file begins with many ids of so many bytes that would do with half of them, and
// are seldom 0.
func hasEmptyHalves(file *input.Mapped, wide int) bool {
	halves := make([]int32, min(file.Size()/int64(wide)*2, 1<<16))
	if len(halves) < 8 || file.Size()%int64(wide) != 0 || (&tokenFile{file, npyArray{width: wide / 2}}).read(halves, 0) != nil {
		return false
	}
	used := 0
	for i := 0; i < len(halves); i += 2 {
		if halves[i+1] != 0 {
			return false
		}
		if halves[i] != 0 {
			used++
		}
	}
	return used >= len(halves)/4
}

// tokenWidth returns the bytes of a token of a vocabulary in a raw token file.
func tokenWidth(vocab int) int {
	if vocab <= math.MaxUint16+1 {
		return 2
	}
	return 4
}

// tokenFile is a mapped file of ids as a tokenSource.
type tokenFile struct {
	file   *input.Mapped
	layout npyArray
}

func (s *tokenFile) read(dst []int32, i int64) error {
	return readIDs(s, dst, i, math.MaxInt32, badToken)
}

func (s *tokenFile) read16(dst []uint16, i int64) error {
	return readIDs(s, dst, i, math.MaxUint16, badToken16)
}

// readIDs reads len(dst) ids from position i on, block by block through the stack.
func readIDs[T int32 | uint16](s *tokenFile, dst []T, i int64, limit uint64, bad func(id string, position int64, name string) error) error {
	var block [8192]byte
	width := s.layout.width
	for len(dst) > 0 {
		count := min(len(dst), len(block)/width)
		raw := block[:count*width]
		if _, err := s.file.ReadAt(raw, s.layout.offset+i*int64(width)); err != nil {
			return fault.Damaged(fmt.Errorf("data: tokens from position %d on: %w", i, err))
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
				return bad(text, i+int64(j), s.file.Path())
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
