package train

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode"
	"unicode/utf8"
)

// pieceBytes is how much text is encoded at once.
const pieceBytes = 1 << 20

// encodeText encodes what r reads, piece by piece, and passes the ids on; they
// are valid until emit returns. Pieces end where a word does, so the ids are those
// of the whole text.
func encodeText(r io.Reader, tok Tokenizer, emit func(ids []int32) error) error {
	var ids []int32
	text := make([]byte, 0, pieceBytes)
	for {
		n, err := io.ReadFull(r, text[len(text):pieceBytes])
		text = text[:len(text)+n]
		cut := len(text)
		switch {
		case err == nil:
			cut = pieceEnd(text)
		case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			return err
		}
		var failed error
		if ids, failed = tok.Encode(ids[:0], string(text[:cut])); failed == nil {
			failed = emit(ids)
		}
		if failed != nil || err != nil {
			return failed // nil at the end of r
		}
		text = append(text[:0], text[cut:]...)
	}
}

// pieceEnd returns where a text can be cut without a change to its tokens: before
// the last white space after a letter or a digit, where byte-pair encodings begin
// a new word. In a text without such a place it is after the last whole character.
func pieceEnd(text []byte) int {
	for at := len(text) - 1; at > 0; at-- {
		if c := text[at]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			continue
		}
		if before, _ := utf8.DecodeLastRune(text[:at]); unicode.IsLetter(before) || unicode.IsDigit(before) {
			return at
		}
	}
	return wholeCharacters(text)
}

// Tokenized says what TokenizeFiles wrote.
type Tokenized struct {
	TrainPath, ValPath     string // ValPath is empty when nothing was held out
	Bytes                  int64  // of text
	TrainTokens, ValTokens int64
	Width                  int // bytes of a token
}

// TokenizeFiles encodes text files, one after the other as if they were one, and
// writes the token files name.train.bin and name.val.bin, which OpenData reads:
// little-endian, 2 bytes per token where the vocabulary allows, else 4. The last
// valFraction of the text is held out; with 0 there is no name.val.bin. Files of
// any size pass through little memory.
func TokenizeFiles(tok Tokenizer, name string, valFraction float64, paths ...string) (Tokenized, error) {
	t := Tokenized{TrainPath: name + trainExt, Width: tokenWidth(tok.Vocab())}
	if err := within("val_fraction", valFraction, 0, 1); err != nil {
		return t, err
	}
	var texts []io.Reader
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return t, fmt.Errorf("train: tokenize: %w", err)
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return t, fmt.Errorf("train: tokenize: %w", err)
		}
		t.Bytes += info.Size()
		texts = append(texts, file)
	}
	text := io.MultiReader(texts...)
	held := int64(float64(t.Bytes) * valFraction)
	var err error
	if t.TrainTokens, err = writeTokens(t.TrainPath, io.LimitReader(text, t.Bytes-held), tok, t.Width); err != nil || valFraction == 0 {
		return t, err
	}
	t.ValPath = name + valExt
	t.ValTokens, err = writeTokens(t.ValPath, text, tok, t.Width)
	return t, err
}

// The ends of the names of two token files that belong together.
const (
	trainExt = ".train.bin"
	valExt   = ".val.bin"
)

// writeTokens writes the tokens of a text to a raw token file and returns how many
// there are.
func writeTokens(path string, text io.Reader, tok Tokenizer, width int) (count int64, err error) {
	err = replaceFile(osFiles{}, path, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 1<<16)
		var one [4]byte
		err := encodeText(text, tok, func(ids []int32) error {
			count += int64(len(ids))
			for _, id := range ids {
				binary.LittleEndian.PutUint32(one[:], uint32(id))
				if _, err := out.Write(one[:width]); err != nil {
					return err
				}
			}
			return nil
		})
		return errors.Join(err, out.Flush())
	})
	return count, err
}
