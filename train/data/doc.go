// Package data goes from text to batches: tokens in files and in memory, what a
// corpus is made of, and the windows that training and evaluation read.
//
// A token file holds the ids of one long text: raw little-endian values (.bin) that a
// JSON file beside it describes, as [Tokenize] writes both, a NumPy array (.npy), or
// what llm.c and modded-nanogpt write. [OpenTokens] maps one, [NewTokens] takes ids
// from memory. [Open] does for a whole run what can be done: it finds the tokenizer,
// encodes a text, holds the end out, and checks every id; the [Corpus] knows by its
// [Identity] whether a run goes on with the data that it began with.
//
// [Sampler] draws the windows of training batches, which are a pure function of seed
// and batch number; [Prefetcher] gathers them ahead. [Windows] are those of evaluation.
package data
