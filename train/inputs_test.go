//go:build unix

package train

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Files of other kinds that are given as tokens are known by how they begin.
func TestTokenFilesOfOtherKinds(t *testing.T) {
	rest := bytes.Repeat([]byte{7, 0}, 100)
	model := writeFile(t, "model.safetensors", nil)
	if err := SaveFile(model, nil, []Entry{entry("a", "F32", make([]byte, 64), 16)}); err != nil {
		t.Fatal(err)
	}
	safetensors, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	torch, err := os.ReadFile("testdata/tensors.pt")
	if err != nil {
		t.Fatal(err)
	}
	legacy, err := os.ReadFile("testdata/legacy.pt")
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
		"safetensors":        safetensors,
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
		_, err := OpenTokens(writeFile(t, "x.bin", data), nil)
		if err == nil || !strings.Contains(err.Error(), "x.bin is no token file, but ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", want, err)
		}
	}
	// A sidecar says that they are tokens, and two bytes mean nothing.
	for _, start := range []string{"\x1f\x8b", "BZ", "\xff\xfe", "\x80\x02", "PK"} {
		tokens, err := OpenTokens(writeFile(t, "x.bin", append([]byte(start), rest...)), nil)
		if err != nil {
			t.Errorf("tokens that begin with %q: %v", start, err)
			continue
		}
		tokens.Close()
	}
}

// Every reader of a file returns soon where it is given a pipe that nobody writes
// to, or a device.
func TestReadersWaitForNobody(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"pipe", "pipe.bin", "pipe.npy", "pipe.json", "run/checkpoint-00000001.safetensors", "hf/config.json", "tok/tokenizer.json", "side.bin.json", "pipe.pt"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), syscall.Mkfifo(path, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	side := filepath.Join(dir, "side.bin")
	if err := os.WriteFile(side, make([]byte, 64), 0o666); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	data := func(path string) error {
		c := dataConfig(t, path, 256)
		_, err := OpenData(t.Context(), c, slog.New(slog.DiscardHandler))
		return err
	}
	for name, read := range map[string]func() error{
		"tokens":                func() error { return data(at("pipe.bin")) },
		"numpy":                 func() error { return data(at("pipe.npy")) },
		"sidecar":               func() error { return data(side) },
		"configuration":         func() error { return errorOf(ReadConfig(at("pipe.json"))) },
		"metrics":               func() error { return errorOf(ReadMetrics(at("pipe"))) },
		"checkpoint":            func() error { return errorOf(OpenFile(at("pipe"))) },
		"run's checkpoint":      func() error { return errorOf(OpenTokenizer(at("run"))) },
		"hugging face":          func() error { return errorOf(OpenHuggingFace(at("hf"))) },
		"tokenizer":             func() error { return errorOf(OpenTokenizer(at("tok"))) },
		"torch":                 func() error { return errorOf(OpenTorch(at("pipe.pt"))) },
		"endless":               func() error { return data("/dev/zero") },
		"full":                  func() error { return data("/dev/full") },
		"endless tokens":        func() error { return errorOf(OpenTokens("/dev/zero", nil)) },
		"endless checkpoint":    func() error { return errorOf(OpenFile("/dev/zero")) },
		"endless configuration": func() error { return errorOf(ReadConfig("/dev/zero")) },
	} {
		done := make(chan error, 1)
		go func() { done <- read() }()
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s: it was read", name)
			} else if text := err.Error(); !strings.Contains(text, "want a file") && !strings.Contains(text, "is empty") && !strings.Contains(text, "holds neither") {
				t.Errorf("%s: error %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: it waits", name)
		}
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
	if _, err := OpenData(ctx, c, slog.New(slog.DiscardHandler)); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 5*time.Second {
		t.Errorf("nobody writes: %v after %v, want %v", err, time.Since(begun), context.DeadlineExceeded)
	}
	c.Data = filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(c.Data, 0o666); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		os.WriteFile(c.Data, []byte(someText), 0)
	}()
	d, err := OpenData(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := d.Train.Len() + d.Val.Len(); got != int64(len(someText)) {
		t.Errorf("%d tokens, want %d", got, len(someText))
	}
}
