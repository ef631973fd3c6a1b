package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// errOtherModel is what a run is refused for that would go on with another
// [Config.From] than it began with.
var errOtherModel = fault.Mismatchedf("from is not the model that the run began with")

// CheckResume reports why a run of c can't go on from the newest checkpoint in its
// folder, as far as the checkpoint's metadata says so: it is of another configuration,
// or began with another model to start from. done is set when there is nothing to do:
// the run has come to step, and TotalSteps is no more than that. It changes nothing;
// [Run] compares the rest, data and values, once it has them.
func (c Config) CheckResume() (step int64, done bool, err error) {
	path, step, err := Latest(c.Dir())
	if err != nil || path == "" {
		return 0, false, err
	}
	meta, err := safetensors.ReadMeta(path)
	if err != nil {
		_, err = openNewest(path) // which says what to do about a damaged one
		return step, false, err
	}
	_, _, before, err := checkpointMeta(meta)
	if err == nil {
		err = c.checkBefore(before)
	}
	if err == nil {
		err = c.checkFrom(before, meta)
	}
	if err != nil {
		return step, false, fmt.Errorf("train: checkpoint %s: %w", path, err)
	}
	if step != c.TotalSteps || c.ValFraction == 0 {
		return step, step >= c.TotalSteps, nil
	}
	records, _ := ReadMetrics(filepath.Join(c.Dir(), metricsName))
	return step, slices.ContainsFunc(records, func(m Record) bool { return m.Step == step && m.ValLoss != nil }), nil
}

// checkBefore compares what must be the same with the configuration of a checkpoint.
func (c Config) checkBefore(before Config) error {
	if diff := c.Diff(before); len(diff) > 0 {
		return fault.Mismatchedf("is of another configuration: %s%s", strings.Join(diff, "; "), c.otherFrom(before))
	}
	return nil
}

// checkFrom compares the model of From with the one that the run of a checkpoint
// began with, wherever they lie.
func (c Config) checkFrom(before Config, meta map[string]string) error {
	if c.From == "" || c.NewData {
		return nil
	}
	const advice = "choose another run_name to start from that model, or start over with -fresh; new_data goes on with the run as it is"
	if before.From == "" {
		return fmt.Errorf("%w: it began without one, and from is %q: %s", errOtherModel, c.From, advice)
	}
	was, err := readModelIdentity(meta)
	if err != nil {
		return err
	}
	is, err := identifyModel(c.From)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.From == before.From: // what it was is in the checkpoint
		return nil
	case err != nil:
		return err
	case was == nil || slices.Equal(is.Files, was.Files):
		return nil
	}
	return fmt.Errorf("%w: that was %s, and from is %s: %s", errOtherModel, was, is, advice)
}

// modelIdentity is what a checkpoint remembers of the model that its run started
// from: enough to tell it from others.
type modelIdentity struct {
	Path  string    `json:"path"`
	Files []fileSum `json:"files"`
}

// fileSum tells one file of values from another.
type fileSum struct {
	Bytes  int64  `json:"bytes"`
	CRC32C string `json:"crc32c"`
}

// String names the model with its checksums.
func (m *modelIdentity) String() string {
	var sums []string
	for _, f := range m.Files {
		sums = append(sums, fmt.Sprintf("%d bytes with the checksum %s", f.Bytes, f.CRC32C))
	}
	return fmt.Sprintf("%s (%s)", m.Path, strings.Join(sums, ", "))
}

// modelKey is the key of a checkpoint's metadata.
const modelKey = "from"

// readModelIdentity returns nil for a checkpoint that has none.
func readModelIdentity(meta map[string]string) (*modelIdentity, error) {
	if meta[modelKey] == "" {
		return nil, nil
	}
	var m modelIdentity
	if err := input.Unmarshal([]byte(meta[modelKey]), &m); err != nil {
		return nil, fault.Damaged(fmt.Errorf("metadata: %s: %w", modelKey, err))
	}
	return &m, nil
}

// add puts it into the metadata of a checkpoint; nil is none.
func (m *modelIdentity) add(meta map[string]string) error {
	if m == nil {
		return nil
	}
	text, err := json.Marshal(m)
	meta[modelKey] = string(text)
	return err
}

// identifyModel reads the files of the model at path, which is one that [OpenModel]
// loads.
func identifyModel(path string) (*modelIdentity, error) {
	id := &modelIdentity{Path: path}
	var files []string
	if isTorch(path) {
		files = []string{path}
	} else if isHuggingFace(path) {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
		for _, e := range entries {
			if filepath.Ext(e.Name()) == checkpointExt {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
	} else {
		file, err := checkpointAt(path)
		if err != nil {
			return nil, err
		}
		files = []string{file}
	}
	for _, name := range files {
		sum, err := sumFile(name)
		if err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
		id.Files = append(id.Files, sum)
	}
	return id, nil
}

// sums are those of files that this process has read whole, by name, length and time:
// CheckResume asks for the model's before data are opened, and Run asks again.
var sums sync.Map

func sumFile(path string) (fileSum, error) {
	f, err := os.Open(path)
	if err != nil {
		return fileSum{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fileSum{}, err
	}
	key := struct {
		path           string
		bytes, changed int64
	}{path, info.Size(), info.ModTime().UnixNano()}
	if known, ok := sums.Load(key); ok {
		return known.(fileSum), nil
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	n, err := io.Copy(sum, f)
	is := fileSum{n, fmt.Sprintf("%08x", sum.Sum32())}
	if err == nil {
		sums.Store(key, is)
	}
	return is, err
}
