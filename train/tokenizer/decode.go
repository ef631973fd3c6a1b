package tokenizer

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// addDecoder replaces the names of tokens by the texts that they decode to.
// What a decoder does to a whole text only, such as to strip the space that the
// tokenizer has put before it, is not done: tokens are decoded one by one.
func (b *builder) addDecoder(s *stage) error {
	if s == nil {
		s = &stage{Type: "Fuse"}
		if b.inLetters {
			s.Type = "ByteLevel"
		}
	}
	decode, err := decoder(*s)
	if err != nil {
		return err
	}
	for id, name := range b.t.text {
		b.t.text[id] = decode(name)
	}
	return nil
}

func decoder(s stage) (func(string) string, error) {
	switch s.Type {
	case "Sequence":
		var parts []func(string) string
		for _, part := range s.Decoders {
			decode, err := decoder(part)
			if err != nil {
				return nil, err
			}
			parts = append(parts, decode)
		}
		return func(name string) string {
			for _, decode := range parts {
				name = decode(name)
			}
			return name
		}, nil
	case "ByteLevel":
		return fromLetters, nil
	case "ByteFallback":
		return func(name string) string {
			if len(name) == len("<0x00>") && strings.HasPrefix(name, "<0x") && name[5] == '>' {
				if c, err := strconv.ParseUint(name[3:5], 16, 8); err == nil {
					return string([]byte{byte(c)})
				}
			}
			return name
		}, nil
	case "Metaspace":
		return replacing(cmp.Or(s.Replacement, "▁"), " "), nil
	case "BPEDecoder":
		return replacing(cmp.Or(s.Suffix, "</w>"), " "), nil
	case "Replace":
		if s.Pattern != nil && s.Pattern.String != nil {
			return replacing(*s.Pattern.String, s.Content), nil
		}
		return nil, fmt.Errorf("a decoder of type Replace without a String as pattern is not supported")
	case "Fuse", "Strip":
		return func(name string) string { return name }, nil
	}
	return nil, fmt.Errorf("a decoder of type %q is not supported", s.Type)
}

func replacing(old, content string) func(string) string {
	return func(name string) string { return strings.ReplaceAll(name, old, content) }
}
