package data

import (
	"encoding/binary"
	"fmt"
	"io"
)

// llmcHeader is the length of the header of llm.c's token files: 256 values of 32
// bits, of which the first three are a magic number, the version and the number of
// tokens. Source: dev/data/data_common.py of github.com/karpathy/llm.c;
// modded-nanogpt writes the same.
const llmcHeader = 256 * 4

// llmcWidths are the bytes of a token by magic number and version.
var llmcWidths = map[[2]uint32]int{
	{20240520, 1}: 2, // of GPT-2
	{20240801, 7}: 4, // of Llama 3
}

// hasLLMCHeader reports whether a file begins as llm.c's do.
func hasLLMCHeader(r io.ReaderAt) bool {
	var start [8]byte
	n, _ := r.ReadAt(start[:], 0)
	magic, version := binary.LittleEndian.Uint32(start[:]), binary.LittleEndian.Uint32(start[4:])
	return n == len(start) && llmcWidths[[2]uint32{magic, version}] != 0
}

// parseLLMC reads the header of a file of the given size.
func parseLLMC(r io.ReaderAt, size int64) (npyArray, error) {
	var start [12]byte
	if size < llmcHeader {
		return npyArray{}, fmt.Errorf("truncated: it begins as a token file of llm.c, but has %d bytes, fewer than its header of %d", size, llmcHeader)
	}
	if _, err := r.ReadAt(start[:], 0); err != nil {
		return npyArray{}, err
	}
	magic, version := binary.LittleEndian.Uint32(start[:]), binary.LittleEndian.Uint32(start[4:])
	a := npyArray{offset: llmcHeader, n: int64(binary.LittleEndian.Uint32(start[8:])), width: llmcWidths[[2]uint32{magic, version}]}
	if rest := size - llmcHeader; rest != a.n*int64(a.width) {
		return a, fmt.Errorf("truncated or damaged: the header of llm.c promises %d tokens of %d bytes, but %d bytes follow it", a.n, a.width, rest)
	}
	return a, nil
}
