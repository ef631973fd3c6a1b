package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// processor is the post_processor of a tokenizer.json, as far as it puts ids
// around a text.
type processor struct {
	Type       string         `json:"type"`
	Processors []processor    `json:"processors,omitempty"` // of Sequence
	Single     []templatePart `json:"single,omitempty"`     // of TemplateProcessing
	Tokens     map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"special_tokens,omitempty"`
	Begin *tokenAndID `json:"cls,omitempty"` // of BertProcessing and RobertaProcessing
	End   *tokenAndID `json:"sep,omitempty"`
}

type templatePart struct {
	Sequence *struct {
		ID string `json:"id"`
	}
	SpecialToken *struct {
		ID string `json:"id"`
	}
}

// tokenAndID is ["<s>", 0].
type tokenAndID struct{ id int32 }

// UnmarshalJSON implements json.Unmarshaler.
func (t *tokenAndID) UnmarshalJSON(data []byte) error {
	var name string
	if parts := []any{&name, &t.id}; json.Unmarshal(data, &parts) != nil || len(parts) != 2 {
		return input.Mismatch[tokenAndID](data)
	}
	return nil
}

// Wanted implements input.Wanted.
func (tokenAndID) Wanted() string { return "a token and its id" }

// addTemplate sets what stands around a document.
func (b *builder) addTemplate(p *processor) error {
	if p == nil {
		return nil
	}
	s := &b.t.special
	switch p.Type {
	case "Sequence":
		for i := range p.Processors {
			if err := b.addTemplate(&p.Processors[i]); err != nil {
				return err
			}
		}
	case "ByteLevel": // moves offsets alone
	case "BertProcessing", "RobertaProcessing":
		if p.Begin == nil || p.End == nil {
			return fmt.Errorf("the post_processor of type %s lacks cls or sep", p.Type)
		}
		s.Before, s.After = append(s.Before, p.Begin.id), append(s.After, p.End.id)
	case "TemplateProcessing":
		return b.addParts(p)
	default:
		return fmt.Errorf("a post_processor of type %q is not supported", p.Type)
	}
	return nil
}

func (b *builder) addParts(p *processor) error {
	s := &b.t.special
	texts := 0
	for _, part := range p.Single {
		switch {
		case part.Sequence != nil:
			texts++
		case part.SpecialToken != nil:
			token, ok := p.Tokens[part.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("the post_processor's template has %q, which is not one of its special_tokens", part.SpecialToken.ID)
			}
			if texts == 0 {
				s.Before = append(s.Before, token.IDs...)
			} else {
				s.After = append(s.After, token.IDs...)
			}
		}
	}
	if texts != 1 {
		return fmt.Errorf("the post_processor's template has the text %d times, want once: {\"Sequence\": {\"id\": \"A\"}}", texts)
	}
	return nil
}

// specialNames are the files that may name BOS and EOS; the first that does counts.
var specialNames = []string{"generation_config.json", "config.json", "tokenizer_config.json"}

// specialFile is the part of them that does.
type specialFile struct {
	Begin      input.IDs `json:"bos_token_id"`
	End        input.IDs `json:"eos_token_id"`
	BeginToken tokenName `json:"bos_token"`
	EndToken   tokenName `json:"eos_token"`
}

// tokenName is null, a token, or an object with a token in it.
type tokenName string

// UnmarshalJSON implements json.Unmarshaler.
func (n *tokenName) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, (*string)(n)) == nil {
		return nil
	}
	var token struct {
		Content string `json:"content"`
	}
	if json.Unmarshal(data, &token) != nil {
		return input.Mismatch[tokenName](data)
	}
	*n = tokenName(token.Content)
	return nil
}

// Wanted implements input.Wanted.
func (tokenName) Wanted() string { return "a token, or an object with its content" }

// readSpecial finds BOS and EOS in the files of a folder.
func (t *Tokenizer) readSpecial(dir string) error {
	var begin, end input.IDs
	for _, name := range specialNames {
		path := filepath.Join(dir, name)
		data, err := input.Read(path, maxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var f specialFile
		if err == nil {
			err = input.Unmarshal(data, &f)
		}
		if err != nil {
			return fault.Damaged(fmt.Errorf("tokenizer: the BOS and EOS of %s: %w", path, err))
		}
		if begin == nil {
			begin = t.listed(f.Begin, f.BeginToken)
		}
		if end == nil {
			end = t.listed(f.End, f.EndToken)
		}
	}
	t.setSpecial(begin, end)
	return nil
}

// listed returns the ids of a list, or that of a token.
func (t *Tokenizer) listed(ids input.IDs, name tokenName) input.IDs {
	if ids == nil && name != "" {
		if id, ok := t.tokenID(string(name)); ok {
			return input.IDs{id}
		}
	}
	return ids
}

// tokenID returns the id of a token of the file.
func (t *Tokenizer) tokenID(name string) (int32, bool) {
	for _, a := range []addedTokens{t.raw, t.normalized} {
		if token, ok := a.byContent[name]; ok {
			return token.ID, true
		}
	}
	id, ok := t.model.ids[name]
	return id, ok
}

// setSpecial sets BOS, where it is known, and EOS. A document that begins with ids
// of its own begins with these.
func (t *Tokenizer) setSpecial(begin, end input.IDs) {
	t.begin = begin
	s := &t.special
	switch {
	case len(s.Before) > 0:
		s.Start = s.Before[0]
	case len(begin) > 0:
		s.Start = begin[0]
	}
	s.End = end
}

// Files returns the files that Open needs to make this tokenizer again, by their
// names: a tokenizer.json, and a generation_config.json with BOS and EOS. There are
// some for the built-in ones too.
func (t *Tokenizer) Files() (map[string][]byte, error) {
	ids := map[string]input.IDs{}
	if len(t.begin) > 0 {
		ids["bos_token_id"] = t.begin[:1]
	}
	if len(t.special.End) > 0 {
		ids["eos_token_id"] = t.special.End
	}
	data, err := json.Marshal(ids)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return map[string][]byte{FileName: t.file, specialNames[0]: append(data, '\n')}, nil
}
