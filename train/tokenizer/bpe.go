package tokenizer

import (
	"container/heap"
	"fmt"
	"unicode/utf8"
)

// bytePairs is the model: it makes tokens of the characters of a word by merging
// neighbours.
type bytePairs struct {
	ids     map[string]int32
	merges  map[[2]int32]merge
	letters bool // the characters are bytes, see letterOf

	whole    bool       // a word that is a token is not merged
	fallback bool       // a character that is no token becomes its bytes
	bytes    [256]int32 // tokens of single bytes, -1 for none
	unknown  int32      // stands for such a character, -1 for none
	fuse     bool       // one for several in a row
	prefix   string     // before each character but the first of a word
	suffix   string     // after its last
}

// merge is what two neighbours become; of all possible ones the lowest rank is
// first, and of these the leftmost.
type merge struct {
	rank int32
	id   int32
}

// Limits of what an encoder remembers.
const (
	maxKnown     = 1 << 16
	maxKnownWord = 256 // bytes
)

// word appends the tokens of a word.
func (e *encoder) word(word string) error {
	if ids, ok := e.known[word]; ok {
		e.ids = append(e.ids, ids...)
		return nil
	}
	from := len(e.ids)
	if err := e.merge(word); err != nil {
		return err
	}
	if len(word) <= maxKnownWord && len(e.known) < maxKnown {
		e.known[word] = append([]int32(nil), e.ids[from:]...)
	}
	return nil
}

func (e *encoder) merge(word string) error {
	m := &e.model
	if m.letters {
		word = toLetters(word)
	}
	if m.whole {
		if id, ok := m.ids[word]; ok {
			e.ids = append(e.ids, id)
			return nil
		}
	}
	g := &e.merger
	g.symbols = g.symbols[:0]
	if err := m.characters(word, g.add); err != nil {
		return err
	}
	g.run(m.merges)
	for at := int32(0); at >= 0 && len(g.symbols) > 0; at = g.symbols[at].next {
		e.ids = append(e.ids, g.symbols[at].id)
	}
	return nil
}

// strayByte appends the token of a byte that is not UTF-8, or that of the
// replacement character where the model has no bytes.
func (e *encoder) strayByte(b byte) error {
	if id := e.model.bytes[b]; id >= 0 {
		e.ids = append(e.ids, id)
		return nil
	}
	if e.model.letters {
		return fmt.Errorf("tokenizer: no token holds the byte %#02x", b)
	}
	return e.word("\uFFFD")
}

// characters passes the tokens of a word's single characters on.
func (m *bytePairs) characters(word string, add func(id int32)) error {
	inUnknown := false
	for at, size := 0, 0; at < len(word); at += size {
		_, size = utf8.DecodeRuneInString(word[at:])
		char := word[at : at+size]
		if at > 0 {
			char = m.prefix + char
		}
		if at+size == len(word) {
			char += m.suffix
		}
		if id, ok := m.ids[char]; ok {
			inUnknown = false
			add(id)
			continue
		}
		switch {
		case m.fallback && m.hasBytes(char):
			inUnknown = false
			for i := range len(char) {
				add(m.bytes[char[i]])
			}
		case m.unknown >= 0:
			if !inUnknown || !m.fuse {
				add(m.unknown)
			}
			inUnknown = true
		default:
			return m.missing(char, word)
		}
	}
	return nil
}

func (m *bytePairs) missing(char, word string) error {
	if m.letters {
		r, _ := utf8.DecodeRuneInString(char)
		return fmt.Errorf("tokenizer: no token holds the byte %#02x of %.40q", letterBytes[r], fromLetters(word))
	}
	return fmt.Errorf("tokenizer: no token holds the character %q of %.40q, and there is none for unknown ones", char, word)
}

func (m *bytePairs) hasBytes(char string) bool {
	for i := range len(char) {
		if m.bytes[char[i]] < 0 {
			return false
		}
	}
	return true
}

// merger merges the tokens of one word in n log n.
type merger struct {
	symbols []symbol
	queue   candidates
}

// symbol is a token in a list of neighbours; -1 ends the list at either side.
type symbol struct {
	id, previous, next int32
}

func (g *merger) add(id int32) {
	at := int32(len(g.symbols))
	if at > 0 {
		g.symbols[at-1].next = at
	}
	g.symbols = append(g.symbols, symbol{id, at - 1, -1})
}

func (g *merger) run(merges map[[2]int32]merge) {
	g.queue = g.queue[:0]
	for at := range g.symbols {
		if c, ok := g.candidate(merges, int32(at)); ok {
			g.queue = append(g.queue, c)
		}
	}
	heap.Init(&g.queue)
	for len(g.queue) > 0 {
		c := heap.Pop(&g.queue).(candidate)
		s := &g.symbols[c.at]
		if now, ok := g.candidate(merges, c.at); !ok || now != c {
			continue // one of the two was merged with another
		}
		gone := s.next
		s.id, s.next = c.id, g.symbols[gone].next
		g.symbols[gone].id = -1
		if s.next >= 0 {
			g.symbols[s.next].previous = c.at
		}
		for _, at := range []int32{s.previous, c.at} {
			if at < 0 {
				continue
			}
			if c, ok := g.candidate(merges, at); ok {
				heap.Push(&g.queue, c)
			}
		}
	}
}

// candidate returns the merge of the symbol at a place with its next.
func (g *merger) candidate(merges map[[2]int32]merge, at int32) (candidate, bool) {
	s := g.symbols[at]
	if s.id < 0 || s.next < 0 {
		return candidate{}, false
	}
	m, ok := merges[[2]int32{s.id, g.symbols[s.next].id}]
	return candidate{m, at}, ok
}

type candidate struct {
	merge
	at int32
}

// candidates is a heap, see container/heap.
type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	return c[i].rank < c[j].rank || c[i].rank == c[j].rank && c[i].at < c[j].at
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)   { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	*c = (*c)[:last]
	return x
}
