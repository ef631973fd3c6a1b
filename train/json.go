package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxSmallFile bounds the bytes of a configuration, an index or a tokenizer.
const maxSmallFile = 64 << 20

// readSmall reads a file of text that has no reason to be large, without the byte
// order mark that some editors put before it. It refuses what is known not to be
// the file that its name says.
func readSmall(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSmallFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSmallFile {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxSmallFile)
	}
	if what := foreign(data); what != "" {
		return nil, fmt.Errorf("%s is %s", path, what)
	}
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), nil
}

// jsonError adds line and column to an error of package json about data.
func jsonError(data []byte, err error) error {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%s: %w", place(data, syntax.Offset-1), err)
	case errors.As(err, &mismatch):
		return fmt.Errorf("%s: %s is a %s, want %s", place(data, mismatch.Offset-1), mismatch.Field, mismatch.Value, mismatch.Type)
	}
	return err
}

// place says where byte at of a text is.
func place(text []byte, at int64) string {
	before := text[:min(max(at, 0), int64(len(text)))]
	return fmt.Sprintf("line %d, column %d", 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n'))
}
