// Package guest holds models, and an update rule, that Lemnos does not have, written as
// any program that imports it would: a module of its own, with the library's public face
// alone.
//
//   - gpt.go: nanochat's GPT, from operations that are there.
//   - experts.go: a mixture of experts, with its routing.
//   - convolution.go: an operation with a kernel and a gradient of its own, and a model of it.
//   - adagrad.go: an update rule with a kernel of its own.
//
// A model has a configuration, a function that reserves its parameters, Initialize,
// Loss and Logits; it says its configuration with Description. That is what train.Run,
// train.OpenCustom and train.Generate need. The tests hold each against PyTorch in
// float64, train, interrupt, resume, load and sample it.
package guest
