package benchcmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/lemnos-ml/lemnos/tools/internal/ceilings"
)

// summarized are the rows of the table of -results, of those that -json wrote: by their names and what their shapes end in.
var summarized = []struct{ label, name, shape string }{
	{"norm f32", "norm f32", ""},
	{"clip + AdamW f32", "clip+adamw f32", ""},
	{"clip + AdamW bf16", "clip+adamw bf16", ""},
	{"clip + AdamW f32, 124 million in 8 tensors", "clip+adamw f32 gpt2", ""},
	{"clip + AdamW f32, 1.1 billion in 64 tensors", "clip+adamw f32 llama", ""},
	{"cross-entropy f32, rows of 50257", "cross-entropy f32", " 50257]"},
	{"cross-entropy bf16, rows of 50257", "cross-entropy bf16", " 50257]"},
	{"softmax f32, rows of 50257", "softmax f32", " 50257]"},
	{"RMSNorm f32", "rmsnorm f32", ""},
	{"RMSNorm f32, backward", "rmsnorm_back f32", ""},
	{"x·wᵀ f32 512³", "matmul nt f32", "[512 512 512]"},
	{"x·wᵀ f32 1024³", "matmul nt f32", "[1024 1024 1024]"},
	{"x·wᵀ f32 4096³", "matmul nt f32", "[4096 4096 4096]"},
	{"x·wᵀ f16 4096³", "matmul nt f16", "[4096 4096 4096]"},
	{"x·wᵀ bf16 4096³", "matmul nt bf16", "[4096 4096 4096]"},
	{"SmolLM2's head f32, 128 tokens", "matmul nt f32 smollm2 head", "[128 49152 576]"},
	{"SmolLM2's head f32, 1024 tokens", "matmul nt f32 smollm2 head", "[1024 49152 576]"},
	{"attention f32 8×256, 6 heads of 64", "attention f32", "[8 256 6/6 64]"},
	{"attention bf16 8×1024, 12 heads of 64", "attention bf16", "[8 1024 12/12 64]"},
	{"attention bf16 2×4096, 16 heads of 128", "attention bf16", "[2 4096 16/16 128]"},
	{"attention bf16 1×8192, 32/4 heads of 64", "attention bf16", "[1 8192 32/4 64]"},
	{"shakespeare-char, a step of 12×64", "shakespeare-char train step", "[12 64]"},
	{"SmolLM2-135M f32, a step of 1×128", "SmolLM2-135M train step", "[1 128]"},
	{"SmolLM2-135M bf16, a step of 4×1024", "SmolLM2-135M train step bf16", "[4 1024]"},
	{"GPT-2 124M bf16, a step of 8×1024", "GPT-2 124M train step bf16", "[8 1024]"},
	{"GPT-2 124M f32, a step of 8×1024", "GPT-2 124M train step f32", "[8 1024]"},
	{"SmolLM2-135M f32, a token", "SmolLM2-135M decode f32", ""},
	{"GPT-2 124M bf16, a token", "GPT-2 124M decode bf16", ""},
}

// result is a file that -json wrote.
type result struct {
	head
	ceilings.Ceilings
	rows []resultRow
}

// resultRow is a row or a step.
type resultRow struct {
	row
	TokensPerSec float64 `json:"tokens_per_s"`
}

// readResult reads a file, in which there may be several runs on a device, one behind the other.
func readResult(name string) (*result, error) {
	file, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := &result{}
	for line := range bytes.Lines(file) {
		var x struct {
			head
			resultRow
			Ceilings *ceilings.Ceilings
		}
		if err := json.Unmarshal(line, &x); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		switch {
		case x.Device != "" && r.Device != "" && x.Device != r.Device:
			return nil, fmt.Errorf("%s is of %s and of %s: one file for each", name, r.Device, x.Device)
		case x.Device != "":
			r.head = x.head
		case x.Ceilings != nil:
			r.Ceilings.Raise(x.Ceilings)
		case x.Nanos > 0 && x.Wrong == "":
			r.rows = append(r.rows, x.resultRow)
		}
	}
	if r.Device == "" || r.Copy == 0 || len(r.rows) == 0 {
		return nil, fmt.Errorf("%s has no device, ceilings or rows: is it what -json writes?", name)
	}
	return r, nil
}

// cell is a row's rate, its share of the ceiling and how many times as fast as its peers it is; "" where it was not measured.
func (r *result) cell(name, shape string) string {
	i := slices.IndexFunc(r.rows, func(x resultRow) bool { return x.Name == name && strings.HasSuffix(x.Shape, shape) })
	if i < 0 {
		return ""
	}
	x := r.rows[i]
	rate := ""
	switch {
	case x.GBs > 0:
		rate = digits(x.GBs) + " GB/s"
	case x.GFLOPS > 0:
		rate = arithmetic(x.GFLOPS)
	default:
		rate = digits(x.TokensPerSec) + " tokens/s"
	}
	cell := fmt.Sprintf("%s, %.0f %%", rate, r.share(x))
	ratios := maps.Clone(x.Peers)
	of := ratios[notebook]
	if delete(ratios, notebook); len(ratios) > 0 {
		cell += ", " + digits(slices.Min(slices.Collect(maps.Values(ratios)))) + "×"
	}
	if of > 0 {
		cell += ", " + digits(of) + "× the notebook"
	}
	return cell
}

// share is the percentage of the ceilings, which are those of all runs in the file, that a row reaches. Where there are matrix cores
// 16-bit arithmetic is held against theirs.
func (r *result) share(x resultRow) float64 {
	switch {
	case x.GBs > 0:
		return 100 * x.GBs / r.Copy
	case x.GFLOPS > 0:
		rate := r.FMA
		for dt, matrix := range r.Matrix {
			if strings.Contains(x.Name, " "+dt) {
				rate = matrix
			}
		}
		return 100 * x.GFLOPS / rate
	}
	return x.OfPeak // of its operations
}

// notebook is the way of PyTorch that is written out in peers/notebook.py, of functions of which PyTorch has faster ones.
const notebook = "notebook"

// digits writes three of them, without an exponent.
func digits(x float64) string {
	return strconv.FormatFloat(x, 'f', max(0, 2-int(math.Floor(math.Log10(x)))), 64)
}

func arithmetic(gflops float64) string {
	if gflops >= 1000 {
		return digits(gflops/1000) + " TFLOP/s"
	}
	return digits(gflops) + " GFLOP/s"
}

// summarize writes the files of a folder as one table of Markdown, a column for each device.
func summarize(w io.Writer, folder string) error {
	names, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("bench: -results: there is no .json in %s", folder)
	}
	var results []*result
	for _, n := range names {
		r, err := readResult(n)
		if err != nil {
			return fmt.Errorf("bench: -results: %w", err)
		}
		results = append(results, r)
	}
	line := func(label string, cell func(r *result) string) {
		cells := []string{label}
		for _, r := range results {
			cells = append(cells, cell(r))
		}
		if label == "" || slices.ContainsFunc(cells[1:], func(c string) bool { return c != "" }) {
			fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
		}
	}
	line("", func(r *result) string { return r.Device + ", " + r.Driver })
	fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", 1+len(results)))
	line("threads of others in the minute before", func(r *result) string {
		if r.busy() {
			return fmt.Sprintf("%.0f: to be measured again", r.Load)
		}
		return ""
	})
	line("measured at commit", func(r *result) string { return r.Commit })
	line("× is of", func(r *result) string { return r.Library })
	line("tensors of kernels that memory bounds", func(r *result) string { return fmt.Sprintf("%.4g MiB", r.MiB) })
	line("ceiling of copies", func(r *result) string { return digits(r.Copy) + " GB/s" })
	line("ceiling of f32 multiply-adds", func(r *result) string { return arithmetic(r.FMA) })
	for _, dt := range []string{"f16", "bf16"} {
		line("ceiling of matrix cores, "+dt, func(r *result) string {
			if r.Matrix[dt] == 0 {
				return ""
			}
			return arithmetic(r.Matrix[dt])
		})
	}
	for _, s := range summarized {
		line(s.label, func(r *result) string { return r.cell(s.name, s.shape) })
	}
	return nil
}

// busy reports whether others ran in the minute before, as many as disturb.
func (h head) busy() bool { return h.Load >= 1 }

// loadAverage is how many threads ran or wanted to in the last minute; 0 where the system does not say.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return load
}
