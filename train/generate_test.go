package train

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// writes collects what was written, call by call.
type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

func TestTextIsWrittenInWholeCharacters(t *testing.T) {
	for _, c := range []struct {
		parts []string
		want  string // calls, separated by |
	}{
		{[]string{"a", "b"}, "a|b"},
		{[]string{"\xe6", "\x97", "\xa5x"}, "日x"},
		{[]string{"a\xf0\x9d", "\x92\xb3", "\xc3"}, "a|𝒳|\uFFFD"},
		{[]string{"\xff", "\xe6\x97", "z"}, "\uFFFD|\uFFFDz"},
		{[]string{"\x80", "\xe6\x97"}, "\uFFFD|\uFFFD"},
		{nil, ""},
	} {
		var got writes
		text := characters{w: &got}
		for _, part := range c.parts {
			text.waiting = append(text.waiting, part...)
			if err := text.write(false); err != nil {
				t.Fatal(err)
			}
		}
		if err := text.write(true); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(got, "|"); got != c.want {
			t.Errorf("%q: wrote %q, want %q", c.parts, got, c.want)
		}
	}
}

// smallTransformer is the structure of a model of bytes.
func smallTransformer() nn.TransformerConfig {
	return nn.TransformerConfig{Vocab: 256, Context: 16, Layers: 1, Heads: 2, Width: 32, FFN: 44, Norm: "rmsnorm", NormEps: 1e-5,
		Activation: "swiglu", Positions: "rope", RopeTheta: 1e4, Init: "truncated_normal"}
}

// smallDecoder is one of such a model with random parameters.
func smallDecoder(t *testing.T) *nn.Decoder {
	t.Helper()
	m, err := nn.NewTransformer(vktest.Open(t), ops.F32, smallTransformer(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Params().Release)
	d, err := m.NewDecoder(16)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestGenerateText(t *testing.T) {
	d := smallDecoder(t)
	tok := openTokenizer(t, "bytes")
	generate := func(seed uint64, prompt string, n int) string {
		t.Helper()
		var text strings.Builder
		tokens, err := Generate(context.Background(), d, &nn.Sampler{Temperature: 1, Seed: seed}, tok, prompt, n, &text)
		if err != nil || tokens != n || text.Len() == 0 || !utf8.ValidString(text.String()) {
			t.Errorf("seed %d, prompt %q: %d tokens, %q, %v", seed, prompt, tokens, text.String(), err)
		}
		return text.String()
	}
	a := generate(1, "Hello", 40)
	if b := generate(1, "Hello", 40); a != b {
		t.Errorf("the same seed gave %q, then %q", a, b)
	}
	if b := generate(2, "Hello", 40); a == b {
		t.Errorf("seeds 1 and 2 both gave %q", a)
	}
	if a, b := generate(1, "", 10), generate(1, "\n", 10); a != b {
		t.Errorf("no prompt gave %q, a line's start %q", a, b)
	}
	_, err := Generate(context.Background(), d, &nn.Sampler{}, openTokenizer(t, "gpt2"), "", 1, &strings.Builder{})
	if want := "token 50256 is outside the vocabulary of 256"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// A text starts with BOS and ends before any EOS; without a tokenizer it is ids.
func TestGenerateSpecial(t *testing.T) {
	d := smallDecoder(t)
	generate := func(tok *tokenizer.Tokenizer, prompt string) string {
		t.Helper()
		var text strings.Builder
		if _, err := Generate(context.Background(), d, &nn.Sampler{Temperature: 1, Seed: 5}, tok, prompt, 12, &text); err != nil {
			t.Error(err)
		}
		return text.String()
	}
	ids := strings.Fields(generate(nil, "65 66")) // not text
	if len(ids) != 12 {
		t.Fatalf("without a tokenizer: %q", ids)
	}
	if _, err := Generate(context.Background(), d, &nn.Sampler{}, nil, "AB", 1, io.Discard); err == nil || !strings.Contains(err.Error(), `"AB" is none`) {
		t.Error(err)
	}
	// The bytes with A as BOS and the third generated id as one of two EOS.
	files, err := openTokenizer(t, "bytes").Files()
	if err != nil {
		t.Fatal(err)
	}
	const template = `"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"A","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"B","type_id":0}}],"special_tokens":{"A":{"id":"A","ids":[65],"tokens":["A"]},"B":{"id":"B","ids":[66],"tokens":["B"]}}}`
	with := func(config, post string) *tokenizer.Tokenizer {
		t.Helper()
		dir := t.TempDir()
		for name, data := range map[string]string{tokenizer.FileName: strings.Replace(string(files[tokenizer.FileName]), `"post_processor":null`, post, 1), "config.json": config} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		return openTokenizer(t, filepath.Join(dir, tokenizer.FileName))
	}
	plain := `"post_processor":null`
	whole := generate(with(`{}`, plain), "AB")
	if got := generate(with(`{"bos_token_id":65}`, plain), "AB"); got != whole {
		t.Errorf("a BOS that no template puts there changes a prompt's text: %q, %q", got, whole)
	}
	if got := generate(with(`{"bos_token_id":65}`, plain), ""); got != generate(with(`{}`, plain), "A") {
		t.Errorf("without a prompt a text does not start after BOS: %q", got)
	}
	if got := generate(with(`{}`, template), "B"); got != whole {
		t.Errorf("the template's beginning is not before the prompt: %q, want %q", got, whole)
	}
	eos := fmt.Sprintf(`{"eos_token_id":[1000,%s]}`, ids[2])
	var text strings.Builder
	n, err := Generate(context.Background(), d, &nn.Sampler{Temperature: 1, Seed: 5}, with(eos, plain), "AB", 12, &text)
	if first := slices.Index(ids, ids[2]); err != nil || n != first || !strings.HasPrefix(whole, text.String()) {
		t.Errorf("%d tokens before EOS, want %d: %q, %v", n, first, text.String(), err)
	}
}
