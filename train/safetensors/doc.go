// Package safetensors reads and writes files of named tensors in the format that
// Hugging Face's models come in (https://github.com/huggingface/safetensors): a JSON
// header of names, types, shapes and offsets, and the values after it.
//
// [Open] reads any such file. [Save] also puts checksums into the metadata, which
// other readers leave alone: files that have them are verified when they are opened,
// and [OpenVerified] refuses those that have none. Nothing of a header is believed
// before it is compared with the file's length.
package safetensors
