package data

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"unicode/utf8"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// textFile is an open text.
type textFile struct {
	*bufio.Reader
	io.Closer
}

// sniffBytes is how much of a text is looked at before it is read.
const sniffBytes = 1 << 16

// standardInput is the name of the text that comes in there.
const standardInput = "-"

// openText opens a text, a pipe too, and returns its length, 0 for a pipe. It warns
// of a file that does not look like a text.
func openText(path string, log *slog.Logger) (*textFile, int64, error) {
	if path == standardInput {
		return openPipe(func() (io.ReadCloser, error) { return io.NopCloser(os.Stdin), nil }), 0, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if info.Mode()&fs.ModeNamedPipe != 0 {
		return openPipe(func() (io.ReadCloser, error) { return os.Open(path) }), 0, nil
	}
	if err := input.Regular(path); err != nil {
		return nil, 0, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	text := &textFile{bufio.NewReaderSize(file, sniffBytes), file}
	head, _ := text.Peek(sniffBytes) // an error comes again when it is read
	what := notText(head)
	if input.IsPointer(head) {
		file.Close()
		return nil, 0, fault.Unsupportedf("%s is %s", path, what)
	}
	if what != "" {
		log.Warn("the data do not look like a text; every byte is taken as it is", "file", path, "looks_like", what)
	}
	return text, info.Size(), nil
}

// openPipe opens a pipe where nobody waits: that takes until somebody writes to it,
// and has to be given up when the reader is closed.
func openPipe(open func() (io.ReadCloser, error)) *textFile {
	r, w := io.Pipe()
	go func() {
		file, err := open()
		if err == nil {
			_, err = io.Copy(w, file)
			file.Close()
		}
		w.CloseWithError(err)
	}()
	return &textFile{bufio.NewReaderSize(r, sniffBytes), r}
}

// binaries are beginnings of files that are no texts, beside those that foreign knows.
var binaries = []struct{ magic, what string }{
	{"\xff\xfe", "text in UTF-16: convert it to UTF-8, as with iconv -f UTF-16 -t UTF-8"},
	{"\xfe\xff", "text in UTF-16: convert it to UTF-8, as with iconv -f UTF-16 -t UTF-8"},
	{"PK\x03\x04", "a zip archive, which .npz, .docx and .pt files are too: unpack it, or save tokens as a .npy file"},
	{npyMagic, "an array of NumPy: name it .npy"},
	{"PAR1", "a Parquet file: write its column of texts to a text file"},
	{"ARROW1", "an Arrow file: write its column of texts to a text file"},
	{"%PDF-", "a PDF document: extract its text, as with pdftotext"},
	{"SQLite format 3\x00", "an SQLite database: write its texts to a text file"},
	{"\x7fELF", "a program"},
	{"\x89PNG", "an image"},
	{"\xff\xd8\xff", "an image"},
	{"\x04\x22\x4d\x18", "compressed with lz4: unpack it"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"},
}

// notText says what a file is that begins with head, and what to do, if it is no
// text; else it returns "".
func notText(head []byte) string {
	for _, b := range binaries {
		if bytes.HasPrefix(head, []byte(b.magic)) {
			return b.what
		}
	}
	if what := input.Foreign(head); what != "" {
		return what
	}
	if len(head) > 262 && string(head[257:262]) == "ustar" {
		return "a tar archive: unpack it"
	}
	nuls, odd := 0, 0
	for i, b := range head {
		if b == 0 {
			nuls++
			odd += i % 2
		}
	}
	switch {
	case nuls*4 >= len(head) && nuls > 0 && (odd == 0 || odd == nuls):
		return "text in UTF-16 without a byte order mark, or tokens of 2 bytes: convert it to UTF-8, or name a token file .bin"
	case nuls*100 > len(head):
		return "binary data: many bytes are 0; name a token file .bin or .npy"
	case len(head) >= 64 && !mostlyUTF8(head):
		return "another encoding than UTF-8, or binary data: convert it, as with iconv -f LATIN1 -t UTF-8"
	}
	return ""
}

// maxHeader is the limit of the header of a safetensors file.
const maxHeader = 100_000_000

// notTokens says what a file is that begins with head, if it is plainly no file of
// token ids, which may begin with any few bytes.
func notTokens(head []byte) string {
	for _, b := range binaries {
		if len(b.magic) >= 4 && bytes.HasPrefix(head, []byte(b.magic)) {
			return b.what
		}
	}
	if len(head) > 10 && binary.LittleEndian.Uint64(head) <= maxHeader && head[8] == '{' && head[9] == '"' {
		return "a safetensors file: it holds a model, not tokens"
	}
	return input.Foreign(head)
}

// mostlyUTF8 reports whether at most a byte of fifty is none of a character in UTF-8.
func mostlyUTF8(text []byte) bool {
	bad := 0
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size == 1 {
			bad++
		}
		at += size
	}
	return bad*50 <= len(text)
}
