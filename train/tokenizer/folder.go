package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// The files of a GPT-2 from before tokenizer.json.
const (
	vocabName  = "vocab.json"
	mergesName = "merges.txt"
)

// Find returns the file of the tokenizer in the folder of a model: its
// tokenizer.json, or the vocab.json of a GPT-2 beside its merges.txt. The error says
// what there is instead, and how to make a tokenizer.json of it.
func Find(dir string) (path string, err error) {
	if path = filepath.Join(dir, FileName); exists(path) {
		return path, nil
	}
	path = filepath.Join(dir, vocabName)
	if exists(path) && exists(filepath.Join(dir, mergesName)) {
		if err = checkPair(dir); err == nil {
			return path, nil
		}
		return "", fault.Unsupportedf("no %s, and %w; %s", FileName, err, convert)
	}
	for _, old := range []string{vocabName, "tokenizer.model", "spiece.model", "vocab.txt"} {
		if exists(filepath.Join(dir, old)) {
			return "", fault.Unsupportedf("no %s, only %s, which is not read; %s", FileName, old, convert)
		}
	}
	return "", fmt.Errorf("no %s, so what its ids mean is not known", FileName)
}

// Missing says that the folder of a model has no tokenizer, what it has instead, and
// what to do about it.
func Missing(dir string) error {
	_, err := Find(dir)
	return fmt.Errorf("%w; a tokenizer is named with -tokenizer (bytes, gpt2 or a %s)", err, FileName)
}

const convert = `transformers makes one: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// checkPair reports why vocab.json and merges.txt in a folder do not say all of a
// tokenizer: other models than GPT-2 split words in ways that only code knows.
func checkPair(dir string) error {
	var model struct {
		Type string `json:"model_type"`
	}
	var tok struct {
		Class  string         `json:"tokenizer_class"`
		BOS    bool           `json:"add_bos_token"`
		Prefix bool           `json:"add_prefix_space"`
		Added  map[string]any `json:"added_tokens_decoder"`
	}
	added := map[string]int32{}
	for name, into := range map[string]any{"config.json": &model, "tokenizer_config.json": &tok, "added_tokens.json": &added} {
		data, err := input.Read(filepath.Join(dir, name), maxFile)
		if err == nil {
			err = input.Unmarshal(data, into)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.Damaged(fmt.Errorf("%s: %w", name, err))
		}
	}
	const only = "of which " + vocabName + " and " + mergesName + " do not say all"
	switch {
	case model.Type != "" && model.Type != "gpt2":
		return fmt.Errorf("the model is %q, %s", model.Type, only)
	case tok.Class != "" && !slices.Contains([]string{"GPT2Tokenizer", "GPT2TokenizerFast"}, tok.Class):
		return fmt.Errorf("the tokenizer is a %s, %s", tok.Class, only)
	case tok.BOS || tok.Prefix:
		return fmt.Errorf("the tokenizer puts something before a text, %s", only)
	case len(added) > 0 || len(tok.Added) > 1:
		return fmt.Errorf("the tokenizer has added tokens, %s", only)
	}
	return nil
}

// openPair reads the vocab.json and the merges.txt of a GPT-2, which checkPair has passed.
func openPair(path string) (*Tokenizer, error) {
	dir := filepath.Dir(path)
	fail := func(err error) (*Tokenizer, error) { return nil, fmt.Errorf("tokenizer: %s: %w", path, err) }
	data, err := input.Read(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	f := builtinFile()
	if err := input.Unmarshal(data, &f.Model.Vocab); err != nil {
		return fail(fault.Damaged(err))
	}
	merges, err := input.Read(filepath.Join(dir, mergesName), maxFile)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	for i, line := range strings.Split(string(merges), "\n") {
		if line = strings.TrimSuffix(line, "\r"); line == "" || i == 0 && strings.HasPrefix(line, "#version") {
			continue
		}
		raw, err := json.Marshal(line)
		if err != nil {
			return fail(err)
		}
		f.Model.Merges = append(f.Model.Merges, raw)
	}
	if id, ok := f.Model.Vocab[endOfText]; ok {
		f.Added = []addedToken{{ID: id, Content: endOfText, Special: true}}
	}
	t, err := f.encoded("bpe")
	if err != nil {
		return fail(err)
	}
	t.name = path
	return t, t.readSpecial(dir)
}
