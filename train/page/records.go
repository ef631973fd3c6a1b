package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/lemnos-ml/lemnos/train"
)

// columns are records, a curve after the other.
type columns struct {
	Step       []int64 `json:"step"`
	Loss       values  `json:"loss"`
	ValLoss    values  `json:"val_loss"`
	LR         values  `json:"lr"`
	GradNorm   values  `json:"grad_norm"`
	TokensPerS values  `json:"tokens_per_s"`
	ElapsedS   values  `json:"elapsed_s"`
}

// values are those of a curve; NaN is one that was not measured.
type values []float64

// MarshalJSON writes as many digits as a picture shows, and null for what can't be drawn.
func (v values) MarshalJSON() ([]byte, error) {
	text := []byte{'['}
	for i, x := range v {
		if i > 0 {
			text = append(text, ',')
		}
		if math.IsNaN(x) || math.IsInf(x, 0) {
			text = append(text, "null"...)
		} else {
			text = strconv.AppendFloat(text, x, 'g', 7, 64)
		}
	}
	return append(text, ']'), nil
}

func (c *columns) len() int { return len(c.Step) }

// add appends a record. Those of a file that goes back in steps are left out.
func (c *columns) add(r train.Record) {
	if n := c.len(); n > 0 && r.Step < c.Step[n-1] {
		return
	}
	at := func(v *float64) float64 {
		if v == nil {
			return math.NaN()
		}
		return *v
	}
	c.Step = append(c.Step, r.Step)
	c.Loss, c.ValLoss = append(c.Loss, at(r.Loss)), append(c.ValLoss, at(r.ValLoss))
	c.LR, c.GradNorm, c.TokensPerS = append(c.LR, at(r.LR)), append(c.GradNorm, at(r.GradNorm)), append(c.TokensPerS, at(r.TokensPerS))
	c.ElapsedS = append(c.ElapsedS, at(r.ElapsedS))
}

// slice returns the records from one index to before another.
func (c *columns) slice(from, to int) *columns {
	return &columns{c.Step[from:to], c.Loss[from:to], c.ValLoss[from:to], c.LR[from:to], c.GradNorm[from:to], c.TokensPerS[from:to], c.ElapsedS[from:to]}
}

// paceTime is how far the speed that the time left comes from looks back, paceMarks how finely.
const (
	paceTime  = 2 * time.Minute
	paceMarks = 60
)

// pace is how fast the run goes, evaluations and all.
type pace struct {
	step  int64
	marks []mark // the first is that of the first step, or paceTime old
}

type mark struct {
	step int64
	at   time.Time
}

func (p *pace) at(step int64, now time.Time) {
	p.step = step
	if n := len(p.marks); n > 0 && now.Sub(p.marks[n-1].at) < paceTime/paceMarks {
		return
	}
	p.marks = append(p.marks, mark{step, now})
	if len(p.marks) > paceMarks {
		p.marks = p.marks[1:]
	}
}

// left returns the seconds to the last step, 0 where they can't be told.
func (p *pace) left(total int64, now time.Time) float64 {
	if len(p.marks) == 0 || p.step == p.marks[0].step || p.step >= total {
		return 0
	}
	first := p.marks[0]
	return now.Sub(first.at).Seconds() / float64(p.step-first.step) * float64(total-p.step)
}

// newAbout describes a run before it has begun.
func newAbout(cfg train.Config) (about, error) {
	data, err := json.Marshal(cfg)
	if err != nil {
		return about{}, fmt.Errorf("train/page: configuration: %w", err)
	}
	config, err := fields(data)
	return about{
		Run: cfg.RunName, TotalSteps: cfg.TotalSteps, Config: config,
		TokensPerStep: cfg.StepTokens(),
	}, err
}

// fields lists the members of a JSON object in their order. Numbers stay as they are written.
func fields(object []byte) ([]field, error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("train/page: the configuration is no JSON object: %w", err)
	}
	list := []field{}
	for dec.More() {
		name, err := dec.Token()
		var value json.RawMessage
		if err == nil {
			err = dec.Decode(&value)
		}
		if err != nil {
			return nil, fmt.Errorf("train/page: configuration: %w", err)
		}
		var text string
		if json.Unmarshal(value, &text) != nil {
			var compact bytes.Buffer
			json.Compact(&compact, value) // it is JSON
			text = compact.String()
		}
		list = append(list, field{name.(string), text})
	}
	return list, nil
}

// parts lists a memory plan's fields by their names.
func parts(p train.MemoryPlan) []part {
	var list []part
	for f, v := range reflect.ValueOf(p).Fields() {
		list = append(list, part{strings.ToLower(f.Name), v.Int()})
	}
	return list
}
