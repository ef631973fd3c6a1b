package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/lemnos-ml/lemnos/train/internal/output"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// The files of a run's folder beside the checkpoints.
const (
	configName     = "config.json"
	metricsName    = "metrics.jsonl"
	plotName       = "loss.png"
	svgName        = "loss.svg"
	generationName = "generation_config.json"
	givenTOML      = "given.toml" // the file that the configuration was given in
	givenJSON      = "given.json"
	lockName       = "run.lock" // empty; the process that trains holds a lock on it
)

// overwritten are those that a run writes anew, beside its configuration.
var overwritten = []string{metricsName, plotName, svgName, tokenizer.FileName, generationName, givenTOML, givenJSON}

// Dir returns the folder of the run: config.json, metrics.jsonl (a [Record] per line),
// loss.png, loss.svg and the newest Keep checkpoints, see [Snapshot]. A tokenizer.json that the
// run uses is copied beside them, with its BOS and EOS in generation_config.json, and the file
// that the configuration was given in is given.toml or given.json. Files
// appear whole or not at all. What they say of the model is what was trained: the
// structure of a transformer, or the name and the structure that a custom one says,
// see [Describer]. An empty run.lock is what the process that trains holds. With TensorBoard
// each start of the run adds an event file.
func (c Config) Dir() string { return filepath.Join(c.CkptDir, c.RunName) }

// givenName is what the folder calls a file that a configuration was given in.
func givenName(file []byte) string {
	if isJSON(file) {
		return givenJSON
	}
	return givenTOML
}

// CheckFolder reports why a run of c can't use its folder: it is no folder,
// another process trains there, or it holds files that no run wrote under names
// that a run would overwrite. With fresh, which removes the files of an earlier
// run, the folder must not be a link either, nor hold anything that the run
// reads: the model of From, data, tokenizer, and the files in reads. CheckFolder
// changes nothing.
func (c Config) CheckFolder(fresh bool, reads ...string) error {
	dir := c.Dir()
	for _, path := range []string{c.CkptDir, dir} {
		if err := checkLink(path); err != nil {
			return err
		}
	}
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("train: folder of the run: %w", err)
	}
	if fresh && info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("train: %s is a link: starting afresh removes nothing behind it; remove the link, or choose another run_name", dir)
	}
	if info, err = os.Stat(dir); err == nil && !info.IsDir() {
		err = errors.New("is a file")
	}
	if err != nil {
		return fmt.Errorf("train: folder of the run, %s: %w", dir, err)
	}
	if name, err := foreignFile(dir); err != nil || name != "" {
		if err == nil {
			err = fmt.Errorf("train: %s holds a %s that no run wrote, or a damaged one: choose another run_name or ckpt_dir, or move the file away", dir, name)
		}
		return err
	}
	if fresh {
		for _, path := range append(reads, c.From, c.Data, c.Tokenizer) {
			if path != "" && isInside(dir, path) {
				return fmt.Errorf("train: %s lies in %s, which is to be started afresh: copy it elsewhere, or choose another run_name", path, dir)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, lockName)); err != nil {
		return nil
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return err
	}
	return lock.Unlock()
}

// checkLink reports a link to what is not there: no folder can be made under its name.
func checkLink(path string) error {
	target, err := os.Readlink(path)
	if err != nil { // no link
		return nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("train: %s is a link to %s, which is not there: create that folder or remove the link, or choose another run_name or ckpt_dir", path, target)
	}
	return nil
}

// foreignFile returns the name of a file that a run in the folder would
// overwrite although no run wrote it, or "".
func foreignFile(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("train: folder of the run: %w", err)
	}
	ours, suspect := false, ""
	for _, e := range entries {
		switch name := e.Name(); {
		case name == configName && e.Type().IsRegular() && isRunConfig(filepath.Join(dir, name)):
			ours = true
		case name == configName, slices.Contains(overwritten, name) && !e.Type().IsRegular():
			return name, nil
		case slices.Contains(overwritten, name):
			suspect = name
		default: // restoring a checkpoint tells what it is
			_, isCheckpoint := stepOf(name)
			ours = ours || isCheckpoint
		}
	}
	if ours {
		return "", nil
	}
	return suspect, nil
}

// isRunConfig reports whether a file is the configuration of a run, rather than
// that of a Hugging Face model or of something else.
func isRunConfig(path string) bool {
	data, err := os.ReadFile(path)
	var keys map[string]json.RawMessage
	return err == nil && json.Unmarshal(data, &keys) == nil && keys["run_name"] != nil && keys["ckpt_dir"] != nil
}

// isInside reports whether path, links followed, is dir or lies in it.
func isInside(dir, path string) bool {
	real := [2]string{dir, path}
	for i, p := range real {
		p, err := filepath.EvalSymlinks(p)
		if err != nil { // it is not there
			return false
		}
		if real[i], err = filepath.Abs(p); err != nil {
			return false
		}
	}
	rel, err := filepath.Rel(real[0], real[1])
	return err == nil && filepath.IsLocal(rel)
}

// isRunFile reports whether a file's name is one that a run gives, the
// temporary ones included.
func isRunFile(name string) bool {
	base, _ := output.CutTemp(name)
	_, isCheckpoint := stepOf(base)
	_, isEvents := eventTime(name)
	return isCheckpoint || isEvents || base == configName || slices.Contains(overwritten, base)
}

// removeRun removes the files of an earlier run from a folder, or only those
// that it left half written. Other files, links and folders stay, and so do the
// lock and the configuration, which the next run replaces: a folder in which not
// all was removed is still a run's.
func removeRun(files output.System, dir string, all bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("train: folder of the run: %w", err)
	}
	for _, e := range entries {
		_, isTemp := output.CutTemp(e.Name())
		if e.Type().IsRegular() && isRunFile(e.Name()) && (isTemp || all && e.Name() != configName) {
			if err := files.Remove(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("train: remove a file of the earlier run: %w", err)
			}
		}
	}
	if err := files.SyncDir(dir); err != nil {
		return fmt.Errorf("train: folder of the run: %w", err)
	}
	return nil
}
