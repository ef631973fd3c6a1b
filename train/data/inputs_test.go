//go:build unix

package data

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// Files of other kinds that are given as tokens are known by how they begin.
func TestTokenFilesOfOtherKinds(t *testing.T) {
	rest := bytes.Repeat([]byte{7, 0}, 100)
	model := check.File(t, "model.safetensors", nil)
	if err := safetensors.Save(model, nil, []safetensors.Entry{safetensors.Values("a", "F32", []int{16}, make([]byte, 64))}); err != nil {
		t.Fatal(err)
	}
	weights, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	torch, err := os.ReadFile("../torch/testdata/tensors.pt")
	if err != nil {
		t.Fatal(err)
	}
	legacy, err := os.ReadFile("../torch/testdata/legacy.pt")
	if err != nil {
		t.Fatal(err)
	}
	npy, err := os.ReadFile("testdata/u2.npy")
	if err != nil {
		t.Fatal(err)
	}
	for want, data := range map[string][]byte{
		"zip archive":        torch,
		"before PyTorch 1.6": legacy,
		"safetensors":        weights,
		"name it .npy":       npy,
		"gzip":               append([]byte("\x1f\x8b\x08\x00"), rest...),
		"zstd":               append([]byte("\x28\xb5\x2f\xfd"), rest...),
		"xz":                 append([]byte("\xfd7zXZ\x00"), rest...),
		"bzip2":              append([]byte("BZh91AY&SY"), rest...),
		"Parquet":            append([]byte("PAR1"), rest...),
		"GGUF":               append([]byte("GGUF\x03\x00"), rest...),
		"a web page":         []byte("<!DOCTYPE html><html>404</html>"),
		"git lfs pull":       []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
	} {
		_, err := OpenTokens(check.File(t, "x.bin", data), nil)
		if err == nil || !strings.Contains(err.Error(), "x.bin is no token file, but ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", want, err)
		}
	}
	// A sidecar says that they are tokens, and two bytes mean nothing.
	for _, start := range []string{"\x1f\x8b", "BZ", "\xff\xfe", "\x80\x02", "PK"} {
		tokens, err := OpenTokens(check.File(t, "x.bin", append([]byte(start), rest...)), nil)
		if err != nil {
			t.Errorf("tokens that begin with %q: %v", start, err)
			continue
		}
		tokens.Close()
	}
}

// A text may come through a pipe, whenever its writer does, until ctx ends.
func TestTextThroughAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	c := dataConfig(t, pipe, 256)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := Open(ctx, c, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 5*time.Second {
		t.Errorf("nobody writes: %v after %v, want %v", err, time.Since(begun), context.DeadlineExceeded)
	}
	c.Path = filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(c.Path, 0o666); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		os.WriteFile(c.Path, []byte(someText), 0)
	}()
	d, err := Open(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := d.Train.Len() + d.Val.Len(); got != int64(len(someText)) {
		t.Errorf("%d tokens, want %d", got, len(someText))
	}
}
