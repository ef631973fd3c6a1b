package train

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/output"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// checkpointPath is the path of a step's checkpoint: dir/checkpoint-00001000.safetensors.
func checkpointPath(dir string, step int64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%08d%s", checkpointStart, step, checkpointExt))
}

const checkpointStart, checkpointExt = "checkpoint-", ".safetensors"

func saveFile(files output.System, path string, meta map[string]string, entries []safetensors.Entry) error {
	err := output.Write(files, path, func(w output.File) error { return safetensors.Write(w, meta, entries) })
	if err != nil {
		return fmt.Errorf("train: save %s: %w", path, err)
	}
	return nil
}

// saveCheckpoint writes the checkpoint of a step as [safetensors.Save] does and then removes all but the newest keep (0: none).
// It returns the checkpoint's path, which is set as soon as the file is whole, even where removing failed. Only one
// process may save checkpoints of a run.
func saveCheckpoint(files output.System, dir string, step int64, meta map[string]string, entries []safetensors.Entry, keep int) (string, error) {
	if step < 0 || keep < 0 {
		return "", fmt.Errorf("train: save checkpoint of step %d, keep %d: both must be at least 0", step, keep)
	}
	path := checkpointPath(dir, step)
	if err := saveFile(files, path, meta, entries); err != nil {
		return "", err
	}
	if keep == 0 {
		return path, nil
	}
	return path, removeOld(files, dir, keep, step)
}

// Latest returns the checkpoint with the highest step in the folder of a run, [Config.Dir], or an empty path when there
// is none. A file that is still being written is none: it does not have its name yet.
func Latest(dir string) (path string, step int64, err error) {
	steps, _, err := listRun(output.OS{}, dir)
	if err != nil || len(steps) == 0 {
		return "", 0, err
	}
	step = steps[len(steps)-1]
	return checkpointPath(dir, step), step, nil
}

// openNewest opens a checkpoint. Where it is the newest of a run, and damaged,
// the error says which one is the newest without it.
func openNewest(path string) (*safetensors.File, error) {
	f, err := safetensors.OpenVerified(path)
	step, ok := stepOf(filepath.Base(path))
	if unopened := (*fs.PathError)(nil); err == nil || !ok || errors.As(err, &unopened) && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	steps, _, listErr := listRun(output.OS{}, filepath.Dir(path))
	n := len(steps)
	switch {
	case listErr != nil || n == 0 || steps[n-1] != step:
		return nil, err
	case n > 1:
		return nil, fmt.Errorf("%w; remove %s to go on from the one before it, %s", err, path, checkpointPath(filepath.Dir(path), steps[n-2]))
	}
	return nil, fmt.Errorf("%w; there is none before it: remove %s, and the run starts over", err, path)
}

// removeOld removes all checkpoints of a run but the newest, and what writers that were killed have left. That of step
// saved stays, even where enough others have higher steps. No checkpoint of the run may be being written.
func removeOld(files output.System, dir string, keep int, saved int64) error {
	steps, leftovers, err := listRun(files, dir)
	if err != nil {
		return err
	}
	for _, step := range steps[:max(0, len(steps)-keep)] {
		if step != saved {
			leftovers = append(leftovers, checkpointPath(dir, step))
		}
	}
	var failed []error
	for _, path := range leftovers {
		if err := files.Remove(path); err != nil {
			failed = append(failed, fmt.Errorf("train: remove old checkpoint: %w", err))
		}
	}
	return errors.Join(failed...)
}

// listRun returns the steps of a run's checkpoints, ascending, and the paths of temporary files. A folder that does not
// exist holds none.
func listRun(files output.System, dir string) (steps []int64, leftovers []string, err error) {
	names, err := files.Names(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("train: checkpoints: %w", err)
	}
	for _, name := range names {
		base, isTemp := output.CutTemp(name)
		step, ok := stepOf(base)
		switch {
		case !ok:
		case isTemp:
			leftovers = append(leftovers, filepath.Join(dir, name))
		default:
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	return steps, leftovers, nil
}

// stepOf returns the step in the file name of a run's checkpoint.
func stepOf(name string) (int64, bool) {
	digits, isRun := strings.CutPrefix(name, checkpointStart)
	digits, isCheckpoint := strings.CutSuffix(digits, checkpointExt)
	step, err := strconv.ParseUint(digits, 10, 63)
	ok := isRun && isCheckpoint && err == nil && name == filepath.Base(checkpointPath("", int64(step)))
	return int64(step), ok
}
