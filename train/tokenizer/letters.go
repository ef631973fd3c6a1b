package tokenizer

import "strings"

// In a byte-level tokenizer.json each byte is one printable character: those of
// Latin-1 stand for themselves, the other bytes in their order for U+0100 and
// those after it.
var (
	byteLetters [256]string
	letterBytes = map[rune]byte{}
)

func init() {
	other := rune(0x100)
	for b := range 256 {
		r := rune(b)
		if !(r >= '!' && r <= '~' || r >= 0xA1 && r <= 0xAC || r >= 0xAE) {
			r = other
			other++
		}
		byteLetters[b], letterBytes[r] = string(r), byte(b)
	}
}

// toLetters writes each byte as its character.
func toLetters(text string) string {
	var b strings.Builder
	b.Grow(2 * len(text))
	for i := range len(text) {
		b.WriteString(byteLetters[text[i]])
	}
	return b.String()
}

// fromLetters is the inverse; a text with other characters stays as it is.
func fromLetters(text string) string {
	b := make([]byte, 0, len(text))
	for _, r := range text {
		c, ok := letterBytes[r]
		if !ok {
			return text
		}
		b = append(b, c)
	}
	return string(b)
}
