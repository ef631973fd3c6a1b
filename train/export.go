package train

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/lemnos-ml/lemnos/train/hf"
	"github.com/lemnos-ml/lemnos/train/internal/output"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// ExportCheckpoint writes the transformer of a checkpoint, or of the newest in the
// folder of a run, as [hf.Export] does, and beside it the tokenizer.json
// that the run used, if any. It needs no device. The folder appears whole or, when ctx
// ends before that, not at all.
//
// Where training started from a Hugging Face folder, the new folder is like that
// one: the same config.json, the same types of values (of the master weights, where
// there are any), and the files of the tokenizer, which must still be there.
func ExportCheckpoint(ctx context.Context, path, dir string) error {
	if isHuggingFace(path) {
		return fmt.Errorf("train: export %s: it is a Hugging Face folder already, want a checkpoint or the folder of a run", path)
	}
	f, cfg, err := openCheckpoint(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := checkExport(dir); err != nil {
		return fmt.Errorf("train: export to %s: %w", dir, err)
	}
	from := originOf(f.Meta())
	stored, _, _ := f.Info("token_embeddings.weight")
	m := hf.Model{Config: cfg.Transformer(), DType: cmp.Or(from.DType, stored), Origin: from.Config}
	m.Param = func(name string) (hf.Tensor, bool) {
		if m.Origin != "" {
			name = weights(f, name)
		}
		kind, shape, ok := f.Info(name)
		return hf.Tensor{DType: kind, Shape: shape, Read: func() ([]byte, error) {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			return f.Bytes(name)
		}}, ok
	}
	base := "" // what training started from, if it is still there
	if from.At(cfg.From) {
		base = cfg.From
	}
	return m.Write(dir, func(to string) error { return exportTokenizer(to, f, base, cfg) })
}

// exportTokenizer writes the tokenizer that a run used, and copies what stands beside
// it, or in the folder of the model that the run started from. Other folders, and ones
// that hold another tokenizer by now, are none of this model's.
func exportTokenizer(dir string, f *safetensors.File, base string, cfg Config) error {
	name, id, err := checkpointTokenizer(f, cfg)
	if err != nil {
		return err
	}
	beside := base // where the tokenizer is one that is not read, all there is is in the model's folder
	if name != "" {
		tok, err := openNamed(f.Path(), name, id)
		if err == nil {
			err = writeTokenizer(output.OS{}, dir, tok)
		}
		if err != nil {
			return fmt.Errorf("the tokenizer is missing: %w", err)
		}
		beside = ""
		if !slices.Contains(tokenizer.Builtin, cfg.Tokenizer) && isTokenizer(cfg.Tokenizer, tok) {
			beside = filepath.Dir(cfg.Tokenizer)
		} else if base != "" && isTokenizer(tokenizerIn(base), tok) {
			beside = base
		}
	}
	if beside != "" {
		err = hf.CopyTokenizer(dir, beside)
	}
	if err != nil || base == "" {
		return err
	}
	return hf.CopyGeneration(dir, base)
}

// isTokenizer reports whether the file of a name is that of a tokenizer.
func isTokenizer(name string, tok *tokenizer.Tokenizer) bool {
	there, err := tokenizer.Open(name)
	return err == nil && there.ID().SHA256 == tok.ID().SHA256
}

// checkExport reports that the files of a run are in a folder.
func checkExport(dir string) error {
	return output.CheckNew(dir, func(name string) bool { return isRunFile(name) || name == lockName })
}

// The Hugging Face folder that training started from, as its export needs it, is
// metadata of the checkpoints.
const originKey, originTypeKey = "huggingface", "huggingface_dtype"

func originOf(meta map[string]string) hf.Origin {
	return hf.Origin{Config: meta[originKey], DType: meta[originTypeKey]}
}

// addOrigin puts it into the metadata of a checkpoint.
func addOrigin(meta map[string]string, o hf.Origin) {
	if o.Config != "" {
		meta[originKey], meta[originTypeKey] = o.Config, o.DType
	}
}
