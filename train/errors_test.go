package train_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/hf"
	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/torchtest"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
	"github.com/lemnos-ml/lemnos/train/torch"
)

// kinds are what an error of a reader can be.
var kinds = []error{train.ErrDamaged, train.ErrMismatched, train.ErrUnsupported, fs.ErrNotExist}

// wantKind fails unless err is of that kind, and of no other.
func wantKind(t *testing.T, name string, err, want error) {
	t.Helper()
	for _, kind := range kinds {
		if errors.Is(err, kind) != (kind == want) {
			t.Errorf("%s: errors.Is(%q, %q) is %v", name, err, kind, kind != want)
		}
	}
}

// changed returns a copy of a file after a change.
func changed(t *testing.T, path string, change func([]byte) []byte) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return check.File(t, filepath.Base(path), change(b))
}

func cut(b []byte) []byte { return b[:len(b)*2/3] }

func replaced(from, to string) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.Replace(b, []byte(from), []byte(to), 1) }
}

// Every reader of files says what is wrong with one by a sentinel.
func TestErrorsOfReaders(t *testing.T) {
	const llama, pt, words = "hf/testdata/llama", "torch/testdata/torch_adamw.pt", "tokenizer/testdata/tokenizer-words.json"
	saved := func(change func([]byte) []byte) func() error {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := safetensors.Save(path, nil, []safetensors.Entry{safetensors.Values("a", "F32", []int{4}, make([]byte, 16))}); err != nil {
			t.Fatal(err)
		}
		return func() error { return errorOf(safetensors.Open(changed(t, path, change))) }
	}
	pickled := func(model string) func() error {
		file := torchtest.Zip(t, "x/data.pkl", torchtest.Payload(model, torchtest.NoOptimizer))
		return func() error { return errorOf(torch.Open(check.File(t, "x.pt", file))) }
	}
	folder := func(name string, change func([]byte) []byte) func() error {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(llama)); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), change(b), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		return func() error { return errorOf(hf.Open(dir)) }
	}
	tokens := func(path string, o *data.TokenOptions) func() error {
		return func() error { return errorOf(data.OpenTokens(path, o)) }
	}
	config := func(text string) func() error {
		return func() error { return errorOf(train.ReadConfig(check.File(t, "c.json", []byte(text)))) }
	}
	for name, c := range map[string]struct {
		read func() error
		want error
	}{
		"safetensors cut":                {saved(cut), train.ErrDamaged},
		"safetensors with another value": {saved(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), train.ErrDamaged},
		"safetensors that is a GGUF":     {saved(func(b []byte) []byte { return append([]byte("GGUF\xff\xff\xff\xff"), b...) }), train.ErrUnsupported},
		"safetensors of another type":    {saved(replaced(`"F32"`, `"F31"`)), train.ErrUnsupported},
		"safetensors without a checksum": {func() error { return errorOf(safetensors.OpenVerified("safetensors/testdata/python.safetensors")) }, train.ErrDamaged},
		"no safetensors":                 {func() error { return errorOf(safetensors.Open("none")) }, fs.ErrNotExist},

		"torch cut":            {func() error { return errorOf(torch.Open(changed(t, pt, cut))) }, train.ErrDamaged},
		"torch of before":      {func() error { return errorOf(torch.Open("torch/testdata/legacy.pt")) }, train.ErrUnsupported},
		"torch that runs code": {pickled("cos\nsystem\n" + torchtest.Text("ls") + "\x85R"), train.ErrUnsupported},
		"torch without values": {pickled("}(" + torchtest.Text("w") + torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 4), "K\x00", "K\x04\x85", "K\x01\x85") + "u"), train.ErrDamaged},
		"torch of no model":    {pickled("N"), train.ErrUnsupported},
		"torch by other names": {func() error {
			c, err := torch.Open(pt)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			return errorOf(c.StateByName([]string{"x"}))
		}, train.ErrMismatched},

		"hf cut":               {folder("config.json", cut), train.ErrDamaged},
		"hf of another kind":   {folder("config.json", replaced(`"llama"`, `"mamba"`)), train.ErrUnsupported},
		"hf of another size":   {folder("config.json", replaced(`"intermediate_size": 44`, `"intermediate_size": 45`)), train.ErrMismatched},
		"hf with a cut file":   {folder("model-00002-of-00003.safetensors", cut), train.ErrDamaged},
		"hf with a cut index":  {folder("model.safetensors.index.json", cut), train.ErrDamaged},
		"hf with a wrong file": {folder("model.safetensors.index.json", replaced("model-00001", "model-00003")), train.ErrMismatched},
		"no hf":                {func() error { return errorOf(hf.Open("none")) }, fs.ErrNotExist},

		"npy cut":                {tokens(changed(t, "data/testdata/u2.npy", cut), nil), train.ErrDamaged},
		"npy of floats":          {tokens(changed(t, "data/testdata/u2.npy", replaced("<u2", "<f2")), nil), train.ErrUnsupported},
		"tokens in gzip":         {tokens(check.File(t, "x.bin", []byte("\x1f\x8b\x08\x00 and so on")), nil), train.ErrUnsupported},
		"tokens cut":             {tokens(check.File(t, "x.bin", make([]byte, 7)), nil), train.ErrDamaged},
		"tokens of two bytes":    {tokens("data/testdata/u2.npy", &data.TokenOptions{Width: 4}), train.ErrMismatched},
		"tokens of a vocabulary": {func() error { return data.TextTokens([]byte("z")).CheckVocab(50) }, train.ErrMismatched},

		"tokenizer cut":        {func() error { return errorOf(tokenizer.Open(changed(t, words, cut))) }, train.ErrDamaged},
		"tokenizer of unigram": {func() error { return errorOf(tokenizer.Open(changed(t, words, replaced(`"BPE"`, `"Unigram"`)))) }, train.ErrUnsupported},
		"tokenizer of another merge": {func() error {
			return errorOf(tokenizer.Open(check.File(t, "x.json", []byte(`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}`))))
		}, train.ErrDamaged},

		"configuration cut":   {config(`{"layers": 3,`), train.ErrDamaged},
		"configuration of it": {config(`{"layer": 3}`), train.ErrUnsupported},
		"no configuration":    {func() error { return errorOf(train.ReadConfig("none")) }, fs.ErrNotExist},
		"metrics":             {func() error { return errorOf(train.ReadMetrics(check.File(t, "m", []byte("{}{\n")))) }, train.ErrDamaged},
	} {
		wantKind(t, name, c.read(), c.want)
	}
}

// The same of checkpoints, and of what a run is given.
func TestErrorsOfRuns(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.TotalSteps = 2
	dev := vktest.Open(t)
	if _, err := runOnce(ctx, dev, c); err != nil {
		t.Fatal(err)
	}
	path, _, err := train.Latest(c.Dir())
	if err != nil || path == "" {
		t.Fatal(path, err)
	}
	rewritten := func(key, value string) string {
		f, err := safetensors.OpenVerified(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		meta, entries := f.Meta(), []safetensors.Entry(nil)
		for _, name := range f.Names() {
			dtype, shape, _ := f.Info(name)
			raw, err := f.Bytes(name)
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, safetensors.Values(name, dtype, shape, raw))
		}
		meta[key] = value
		to := filepath.Join(t.TempDir(), "x.safetensors")
		if err := safetensors.Save(to, meta, entries); err != nil {
			t.Fatal(err)
		}
		return to
	}
	export := func(path string) error { return train.ExportCheckpoint(ctx, path, filepath.Join(t.TempDir(), "out")) }
	wantKind(t, "checkpoint cut", export(changed(t, path, cut)), train.ErrDamaged)
	wantKind(t, "checkpoint of a bigram", export(path), train.ErrUnsupported)
	wantKind(t, "checkpoint of another version", export(rewritten("format", "lemnos-0")), train.ErrUnsupported)
	wantKind(t, "checkpoint without its step", export(rewritten("iteration", "x")), train.ErrDamaged)
	wantKind(t, "no checkpoint", export("none"), fs.ErrNotExist)

	other := c
	other.Vocab = 300
	_, err = runOnce(ctx, dev, other)
	wantKind(t, "another configuration", err, train.ErrMismatched)
	c.TotalSteps = 4
	corpus := data.Corpus{Train: data.TextTokens([]byte(strings.Repeat("abc", 99))), Val: data.TextTokens([]byte(strings.Repeat("abc", 99)))}
	m, _ := bigramAndData(t, dev, c)
	err = train.Run(ctx, dev, c, dropping{m, c.Dropout}, corpus, train.Hooks{})
	wantKind(t, "other data", err, train.ErrMismatched)
}
