// Package hf reads and writes models as the folders of Hugging Face's transformers
// package: config.json beside model.safetensors, one file or several.
//
// [Open] checks a folder of GPT-2's or Llama's kind, [Folder.Load] gives its values to
// a transformer of package nn, and [Folder.Export] writes what became of them, with
// all of config.json that is not understood here. [Export] writes a model that came
// from nowhere. [Model] is for values that are not on a device.
package hf
