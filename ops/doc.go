// Package ops holds tensors on a Vulkan device, the operations that train
// language models on them, and the scheduler that orders, places and replays
// those operations.
//
// # Life of a graph
//
// A [Graph] is built once. Its methods append operations and remember how to
// differentiate them; [Graph.Backward] appends the gradients. [Graph.Compile]
// works out how long each intermediate lives, places all of them in one arena,
// records the dispatches with the barriers they need, and returns a [Step].
// [Step.Run] replays the recording: one queue submission, no allocation in Go,
// no wait.
//
//	g := ops.NewGraph(dev)
//	x, y, at := g.Batch(tokens, b, t, seed)
//	logits := g.Embed(table, x)
//	loss := g.CrossEntropy(logits, y, nil)
//	g.Backward(loss, nil)
//	g.Output(loss)
//	step, err := g.Compile()
//
// tokens is a U16 or U32 vector of ids with memory of its own ([NewTensor], filled
// by [Upload]): the whole text. The examples train from one and build a transformer
// block.
//
// [NewImmediate] returns a graph that runs every operation as it is called,
// through the same code, for callers who bring their own arrays.
//
// An operation that is not here can be added from outside: see [Graph.Record] and
// its example.
//
// # Errors
//
// Building never returns an error: a wrong shape sticks to the graph, later
// operations do nothing, and [Graph.Compile] (or [Graph.Err]) returns the first
// one with the operation, the shapes and the caller's file and line. Misuse is an
// error too: an input that was never written, a Run without the numbers of its
// step, a graph without outputs, what comes after Compile. A token id
// outside the vocabulary can only be seen on the device: the step then updates
// nothing, and [Step.Wait] and all that reads its outputs return a [*BadIndexError].
//
// # Shapes, types and memory
//
// Letters: B batch, T context length, N positions (B·T), D width, V vocabulary.
// A tensor is a row-major array of any shape; the last dimension is a row. Rows
// of float tensors (F32, F16, BF16) are padded with zeros to a multiple of four
// values, so kernels load and store four at a time; integer tensors (I32, U32,
// U16) are dense. Arithmetic is always f32, whatever the storage type.
// [Upload] and [Download] hide the padding.
//
// There are three kinds of tensor. Persistent ones ([NewTensor], [Params]) own
// device memory and keep their values. Inputs ([Graph.Input]) are written by the
// host before each run, through a ring, so that the next step can be prepared
// while the last one runs. Intermediates share the graph's arena; their values
// are gone after the step unless [Graph.Output] asked for them.
//
// # Ownership and threads
//
// Whoever creates a tensor, a parameter set or a step releases it, before the
// device is closed. A device and all that belongs to it are for one goroutine
// at a time.
package ops
