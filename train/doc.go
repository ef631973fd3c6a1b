// Package train is the loop that makes a trained model: configuration, trainer,
// evaluation, metrics, checkpoints and the folder of a run. The packages below it read
// and write files: data has tokens and batches, safetensors, torch and hf have models.
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
// # Files
//
// A run lives in the folder cfg.CkptDir/cfg.RunName: config.json, metrics.jsonl
// (a [Record] per line), loss.png and the newest cfg.Keep checkpoints. A
// checkpoint is a safetensors file with the parameters under their own names and
// what the optimizer keeps of them with its rule before that: adamw.m., adamw.v.,
// lion.m., adamw.master.;
// its metadata holds iteration, step counts, loss scale, configuration and what tells
// the data from others. A tokenizer.json that the run uses is copied beside them, with
// its BOS and EOS in generation_config.json. Files appear whole or not at all.
// What they say of the model is what was trained: the structure of a transformer, or
// the name and the structure that a custom one says, see [Describer].
//
// # Models from elsewhere
//
// [OpenModel] loads a checkpoint of a run or a Hugging Face folder of GPT-2's or
// Llama's kind, [OpenCustom] a checkpoint of a custom model, [Generate] continues a text, and a run whose Config.From
// names one starts from its parameters. [ExportCheckpoint] writes such a folder.
// Package tokenizer has bytes, GPT-2's, and those of a tokenizer.json; [data.Tokenize]
// makes the token files that runs read, and [data.Open] says which tokenizer counts.
// No file from elsewhere is trusted: lengths, shapes and names are checked before
// memory is taken for them. What can't be used is [ErrDamaged], [ErrMismatched] or
// [ErrUnsupported].
//
// # Memory
//
// [Run] adds up what it will hold on the device ([MemoryPlan]) before it allocates
// any of it, tells it, and ends with an error that names both numbers when the
// device has less.
//
// # Resuming
//
// A run that was interrupted, crashed or killed and is started again goes on
// from its newest checkpoint and ends with the same bits as one that was not
// stopped: batches, dropout, learning rates and evaluations are pure functions of
// the step. A checkpoint of a configuration that differs in what defines the model
// is refused; other fields may change, see [Config]. So is one of other data, or of
// another tokenizer, unless Config.NewData says that they are meant: a checkpoint
// knows how many tokens there are, a checksum of them and what the tokenizer does,
// not where their files lie.
//
// # Gradient accumulation
//
// A step of GradAccum batches has the gradient of one large batch up to rounding:
// sums run in another order, so its bits are not those of the large batch. They
// are the same from run to run: batches come in their order, f32 gradients take
// each share as it is found, 16-bit gradients of a batch are rounded as always and
// added in f32. Loss and gradient of a step are the mean over all its targets,
// however many each batch ignores, where Loss returns what CrossEntropy or
// LinearCrossEntropy did; else they are the mean over its batches.
//
// Losses are in nats per token. Nothing here is for more than one goroutine at a
// time; Run itself writes checkpoints from a goroutine that ends before it does.
package train
