package comparecmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/lemnos-ml/lemnos/train"
)

// The files of a run's folder that tell about it.
const (
	metricsName = "metrics.jsonl"
	configName  = "config.json"
)

// runData is what the files of a run tell.
type runData struct {
	name, path string // path is that of the metrics
	records    []train.Record
	config     map[string]json.RawMessage // nil where there is none
	parameters int64                      // 0: not known
}

// open reads the runs that operands mean, each once. Its error is of those that can't be read: the others are there.
func open(operands []string) (runs []*runData, failed error) {
	seen := map[string]bool{}
	for _, operand := range operands {
		paths, err := metricsOf(operand)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("compare: no run: %w", err))
		}
		for _, path := range paths {
			if real, err := filepath.EvalSymlinks(path); err == nil {
				real, _ = filepath.Abs(real)
				if seen[real] {
					continue
				}
				seen[real] = true
			}
			r, err := read(path)
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			runs = append(runs, r)
		}
	}
	setNames(runs)
	if len(runs) > 0 && !slices.ContainsFunc(runs, func(r *runData) bool { return len(r.records) > 0 }) {
		return nil, errors.Join(failed, fmt.Errorf("compare: no run has measured anything yet, see %s", runs[0].path))
	}
	return runs, failed
}

// metricsOf returns the paths of the metrics that an operand means.
func metricsOf(operand string) ([]string, error) {
	info, err := os.Stat(operand)
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir():
	case filepath.Ext(operand) == ".safetensors": // a checkpoint, as other commands take it
		operand = filepath.Dir(operand)
	default:
		return []string{operand}, nil
	}
	own := filepath.Join(operand, metricsName)
	if _, err := os.Stat(own); err == nil {
		return []string{own}, nil
	}
	entries, err := os.ReadDir(operand)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries { // sorted
		path := filepath.Join(operand, e.Name(), metricsName)
		if _, err := os.Stat(path); err == nil || errors.Is(err, fs.ErrPermission) { // which reading it says
			all = append(all, path)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s is no run's folder, nor one of runs: there is no %s in it or below it", operand, metricsName)
	}
	return all, nil
}

// read reads the metrics at path, and the configuration beside them.
func read(path string) (*runData, error) {
	r := &runData{path: path}
	var err error
	if r.records, err = train.ReadMetrics(path); err != nil {
		return nil, err
	}
	config := filepath.Join(filepath.Dir(path), configName)
	text, err := os.ReadFile(config)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r.config)
	}
	if err != nil {
		return nil, fmt.Errorf("compare: configuration %s: %w", config, err)
	}
	if c, err := train.ReadConfig(config); err == nil && len(r.config["custom"]) <= len("{}") {
		r.parameters = c.Parameters()
	}
	return r, nil
}

// setNames calls each run like its folder, or, where two would be called the same, by its path.
func setNames(runs []*runData) {
	uses := map[string]int{}
	for _, r := range runs {
		r.name = strings.TrimSuffix(filepath.Base(r.path), filepath.Ext(r.path))
		if filepath.Base(r.path) == metricsName {
			dir, err := filepath.Abs(filepath.Dir(r.path))
			if err == nil {
				r.name = filepath.Base(dir)
			}
		}
		uses[r.name]++
	}
	for _, r := range runs {
		if uses[r.name] > 1 {
			r.name = r.path
			if filepath.Base(r.path) == metricsName {
				r.name = filepath.Dir(r.path)
			}
		}
		if strings.ContainsFunc(r.name, func(c rune) bool { return !unicode.IsPrint(c) }) {
			r.name = strconv.Quote(r.name) // a terminal would obey it
		}
	}
}

// stepTokens returns how many training tokens a step has, 0 where that is not known.
func (r *runData) stepTokens() int64 {
	n := int64(1)
	for _, field := range []string{"batch_size", "context_len", "grad_accum"} {
		var v int64
		if json.Unmarshal(r.config[field], &v) != nil {
			return 0
		}
		n *= v
	}
	return n
}

// steps returns how many are done.
func (r *runData) steps() int64 {
	if len(r.records) == 0 {
		return 0
	}
	return r.records[len(r.records)-1].Step
}

// best returns the record of the lowest validation loss, nil where none was measured.
func (r *runData) best() (best *train.Record) {
	for i, rec := range r.records {
		if rec.ValLoss != nil && !math.IsNaN(*rec.ValLoss) && (best == nil || *rec.ValLoss < *best.ValLoss) {
			best = &r.records[i]
		}
	}
	return best
}

// last returns the newest value of a field, nil where it was never measured.
func (r *runData) last(of func(train.Record) *float64) *float64 {
	for _, rec := range slices.Backward(r.records) {
		if v := of(rec); v != nil {
			return v
		}
	}
	return nil
}

// rate returns the median of the tokens per second, nil where there are none.
func (r *runData) rate() *float64 {
	var all []float64
	for _, rec := range r.records {
		if v := rec.TokensPerS; v != nil {
			all = append(all, *v)
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	return &all[len(all)/2]
}

func valLoss(r train.Record) *float64 { return r.ValLoss }
func elapsed(r train.Record) *float64 { return r.ElapsedS }
func loss(r train.Record) *float64    { return r.Loss }
