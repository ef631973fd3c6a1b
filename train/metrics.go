package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
	"github.com/lemnos-ml/lemnos/train/internal/output"
)

// Record is what is known about a run at one step, one line of its metrics file:
//
//	{"step":500,"loss":2.91,"val_loss":2.95,"lr":0.0003,"grad_norm":0.4,"tokens_per_s":81000,"elapsed_s":100}
//
// A nil field was not measured and is left out. JSON has no NaN and no infinity:
// the file holds the strings "NaN", "+Inf" and "-Inf" for them.
type Record struct {
	Step       int64    // steps done
	Loss       *float64 // training loss, nats per token
	ValLoss    *float64 // loss on the held-out windows, nats per token
	LR         *float64 // learning rate of the last step
	GradNorm   *float64 // norm of the gradient before clipping
	TokensPerS *float64 // training tokens per second since the last record
	ElapsedS   *float64 // seconds that the run has trained, from its first step on; pauses between its starts are none of them
	Skipped    int64    // steps so far that changed nothing, as their gradient's norm was not finite, or 2^64 or more after clipping
}

// line is a Record as it is in the file.
type line struct {
	Step       int64   `json:"step"`
	Loss       *number `json:"loss,omitempty"`
	ValLoss    *number `json:"val_loss,omitempty"`
	LR         *number `json:"lr,omitempty"`
	GradNorm   *number `json:"grad_norm,omitempty"`
	TokensPerS *number `json:"tokens_per_s,omitempty"`
	ElapsedS   *number `json:"elapsed_s,omitempty"`
	Skipped    int64   `json:"skipped,omitempty"`
}

// number is a float64 whose JSON covers NaN and the infinities.
type number float64

// MarshalJSON implements json.Marshaler; see [Record] for the form.
func (r Record) MarshalJSON() ([]byte, error) {
	return json.Marshal(line{r.Step, (*number)(r.Loss), (*number)(r.ValLoss), (*number)(r.LR), (*number)(r.GradNorm), (*number)(r.TokensPerS), (*number)(r.ElapsedS), r.Skipped})
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Record) UnmarshalJSON(data []byte) error {
	var l line
	if err := json.Unmarshal(data, &l); err != nil {
		return err
	}
	*r = Record{l.Step, (*float64)(l.Loss), (*float64)(l.ValLoss), (*float64)(l.LR), (*float64)(l.GradNorm), (*float64)(l.TokensPerS), (*float64)(l.ElapsedS), l.Skipped}
	return nil
}

func (n number) MarshalJSON() ([]byte, error) {
	data, err := json.Marshal(float64(n))
	if err != nil { // not finite
		return strconv.AppendQuote(nil, strconv.FormatFloat(float64(n), 'g', -1, 64)), nil
	}
	return data, nil
}

func (n *number) UnmarshalJSON(data []byte) error {
	v, err := strconv.ParseFloat(string(bytes.Trim(data, `"`)), 64)
	*n = number(v)
	return err
}

// elapsed returns for how many seconds the run of records has trained.
func elapsed(records []Record) float64 {
	for _, r := range slices.Backward(records) {
		if r.ElapsedS != nil {
			return *r.ElapsedS
		}
	}
	return 0
}

// metricsFile is the metrics file of a run, JSON lines in the order of the steps,
// open for appending. It is for one goroutine.
type metricsFile struct {
	files   output.System
	path    string
	file    output.File // nil when the file may not hold the records: it is to be written anew
	records []Record
}

// openMetrics opens the file of a run that goes on after step, and cuts off what
// an earlier start wrote beyond that step, so that the curve has each step once.
// At step 0 a run begins anew and the file is emptied. A missing file, or folder,
// is created.
func openMetrics(files output.System, path string, step int64) (*metricsFile, error) {
	old, torn, err := readMetrics(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	m := &metricsFile{files: files, path: path}
	for _, r := range old {
		if step > 0 && r.Step <= step {
			m.records = append(m.records, r)
		}
	}
	if torn || err != nil || len(m.records) < len(old) {
		return m, m.rewrite()
	}
	return m, m.open()
}

// rewrite makes the file hold the records, and opens it.
func (m *metricsFile) rewrite() error {
	err := output.Write(m.files, m.path, func(w output.File) error {
		for _, r := range m.records {
			if err := writeRecord(w, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("train: write %s: %w", m.path, err)
	}
	return m.open()
}

func (m *metricsFile) open() (err error) {
	if m.file, err = m.files.Append(m.path); err != nil {
		m.file = nil
		return fmt.Errorf("train: metrics: %w", err)
	}
	return nil
}

// Append writes one record. The step must be that of the last record or a later
// one. A record that could not be written is written with the next one.
func (m *metricsFile) Append(r Record) error {
	if n := len(m.records); n > 0 && r.Step < m.records[n-1].Step {
		return fmt.Errorf("train: metrics: step %d after step %d", r.Step, m.records[n-1].Step)
	}
	m.records = append(m.records, r)
	if m.file == nil {
		return m.rewrite()
	}
	if err := writeRecord(m.file, r); err != nil {
		// The line may be there in part: what is appended to it would be lost too.
		return fmt.Errorf("train: metrics: %w", errors.Join(err, m.Close()))
	}
	return nil
}

// sync makes what was written durable.
func (m *metricsFile) sync() error {
	if m.file == nil {
		return m.rewrite()
	}
	if err := m.file.Sync(); err != nil {
		return fmt.Errorf("train: metrics: %w", errors.Join(err, m.Close()))
	}
	return nil
}

// Records returns all records of the run, those of earlier starts included. The
// slice is the Metrics' own.
func (m *metricsFile) Records() []Record { return m.records }

// Close closes the file.
func (m *metricsFile) Close() error {
	if m.file == nil {
		return nil
	}
	err := m.file.Close()
	m.file = nil
	return err
}

// ReadMetrics reads a metrics file. A last line that a crash cut short is left out.
func ReadMetrics(path string) ([]Record, error) {
	records, _, err := readMetrics(path)
	return records, err
}

// readMetrics also tells whether the last line was cut short.
func readMetrics(path string) (records []Record, torn bool, err error) {
	err = input.Regular(path)
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, false, fmt.Errorf("train: metrics: %w", err)
	}
	for n := 1; len(data) > 0; n++ {
		text, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			return records, true, nil
		}
		var r Record
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, false, fault.Damaged(fmt.Errorf("train: line %d of %s is no record of a run (%.80q): remove that line, or the file, which only the curve is drawn from", n, path, text))
		}
		records, data = append(records, r), rest
	}
	return records, false, nil
}

// writeRecord writes a line in one call, so that a crash leaves at most one torn line.
func writeRecord(w io.Writer, r Record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}
