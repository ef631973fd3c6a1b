// Package train is the loop that makes a trained model: configuration, trainer,
// evaluation, metrics, checkpoints and the folder of a run. The packages below it read
// and write files: tokenizer has texts, data tokens and batches, safetensors, torch and
// hf models.
//
// [Run] is the whole of it for a model behind the two methods of [Model]:
//
//	data, err := train.OpenData(ctx, cfg, nil)
//	…
//	err = train.Run(ctx, dev, cfg, model, data, train.Hooks{})
//
// [Trainer] and [Evaluator] are its parts, for a loop of one's own; [Save] and [Load]
// keep a model and its optimizer for one without a Trainer. What the functions
// compute is in docs/specification.md.
//
// # Runs
//
// A run lives in a folder, see [Config.Dir], in which one process trains at a time.
// Started again, however it ended, it goes on from its newest checkpoint and ends with
// the same bits as one that was not stopped, see [Run]; docs/reliability.md has what was
// tried. A checkpoint ([Snapshot]) of another model, other batches or other data than the
// run's is refused. [data.Tokenize] makes the token files that runs read, and [data.Open]
// says which tokenizer counts.
//
// # Models from elsewhere
//
// [OpenModel] loads a checkpoint of a run or a Hugging Face folder, [OpenCustom] a
// checkpoint of a custom model, [Generate] continues a text, and a run whose Config.From
// names a model starts from its parameters. [ExportCheckpoint] writes a Hugging Face
// folder. No file from elsewhere is trusted: lengths, shapes and names are checked before
// memory is taken for them. What can't be used is [ErrDamaged], [ErrMismatched] or
// [ErrUnsupported].
//
// Losses are in nats per token. Nothing here is for more than one goroutine at a time;
// Run itself writes checkpoints from a goroutine that ends before it does.
package train
