//go:build unix

package train

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/hf"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/train/torch"
)

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
	open := func(path string) error {
		c := DefaultConfig()
		c.Data, c.Vocab, c.CkptDir = path, 256, t.TempDir()
		_, err := OpenData(t.Context(), c, nil)
		return err
	}
	for name, read := range map[string]func() error{
		"tokens":                func() error { return open(at("pipe.bin")) },
		"numpy":                 func() error { return open(at("pipe.npy")) },
		"sidecar":               func() error { return open(side) },
		"configuration":         func() error { return errorOf(ReadConfig(at("pipe.json"))) },
		"metrics":               func() error { return errorOf(ReadMetrics(at("pipe"))) },
		"checkpoint":            func() error { return errorOf(safetensors.OpenVerified(at("pipe"))) },
		"run's checkpoint":      func() error { return errorOf(OpenTokenizer(at("run"))) },
		"hugging face":          func() error { return errorOf(hf.Open(at("hf"))) },
		"tokenizer":             func() error { return errorOf(OpenTokenizer(at("tok"))) },
		"torch":                 func() error { return errorOf(torch.Open(at("pipe.pt"))) },
		"endless":               func() error { return open("/dev/zero") },
		"full":                  func() error { return open("/dev/full") },
		"endless tokens":        func() error { return errorOf(data.OpenTokens("/dev/zero", nil)) },
		"endless checkpoint":    func() error { return errorOf(safetensors.OpenVerified("/dev/zero")) },
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
