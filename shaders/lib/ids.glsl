// Token ids out of a buffer of words: 32 bits each (i32, u32), or with IDS16 two to a word (u16), the first one low.
// defines: load_id(words, i), IDS16 (specialization id 20)
layout(constant_id = 20) const uint IDS16 = 0;

uint id_word(uint i) { return IDS16 != 0 ? i / 2 : i; }
uint id_of_word(uint w, uint i) { return IDS16 != 0 ? w >> (i & 1u) * 16 & 0xffffu : w; }

#define load_id(words, i) id_of_word(words[id_word(i)], i)
