package progress

import (
	"fmt"
	"slices"
	"time"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train"
)

// state is what is known of a run, or of what leads to one.
type state struct {
	phases []*phase // that have no end yet, in the order of their starts
	total  int64    // steps; 0 where there is no run
	step   int64
	at     time.Time // when that was
	marks  []mark    // where the rate of the steps is measured from
	marked bool      // an evaluation has ended since the last step
	losses []float64
	last   train.Record // with the last value of each measure
	memory int64        // bytes on the device
	tokens float64      // of a step
	least  float64      // nanoseconds that a step takes at the device's ceilings; 0 where they were not measured
}

// mark is a step and when it was submitted.
type mark struct {
	step int64
	at   time.Time
}

// phase is one that has no end yet.
type phase struct {
	train.Phase
	since  time.Time
	told   time.Time // when a plain line was written of it
	behind bool      // steps go on beside it
}

const (
	showAfter = 300 * time.Millisecond // what is shorter only flickers
	tellAfter = time.Second            // before the first step, and tellEvery then
	tellEvery = 10 * time.Second
	rateAfter = 500 * time.Millisecond // a few steps are submitted before the device has done the first
	keptMarks = 5                      // the rate is that of so many evaluations and the steps between them
	lossesOf  = 10                     // records make a trend
)

// phase keeps what is told of one, and returns a line if it is to stay in the scrollback.
func (s *state) phase(p train.Phase, now time.Time) string {
	i := slices.IndexFunc(s.phases, func(q *phase) bool { return q.Name == p.Name })
	if i < 0 {
		s.phases = append(s.phases, &phase{since: now})
		i = len(s.phases) - 1
	}
	q := s.phases[i]
	q.Phase = p
	if p.Done == 0 || p.Done < p.Total || p.Total == 0 {
		return ""
	}
	s.phases = slices.Delete(s.phases, i, i+1)
	s.marked = s.marked || p.Name == "evaluating"
	took := now.Sub(q.since)
	if len(s.marks) > 0 || took < tellAfter {
		return ""
	}
	if p.Unit == "" {
		return fmt.Sprintf("%s took %s", p.Name, command.Duration(took.Seconds()))
	}
	return fmt.Sprintf("%s took %s for %s", p.Name, command.Duration(took.Seconds()), amountOf(p.Total, p.Unit))
}

func amountOf(n int64, unit string) string {
	if unit == "bytes" {
		return amount(n, unit)
	}
	return amount(n, unit) + " " + unit
}

// submitted keeps that a step was.
func (s *state) submitted(step int64, now time.Time) {
	s.step = step
	for _, p := range s.phases {
		p.behind = true
	}
	if len(s.marks) == 0 || s.marked {
		s.marks = append(s.marks, mark{step, now})
		s.marks = s.marks[max(0, len(s.marks)-keptMarks):]
		s.marked = false
	}
	s.at = now
}

// record keeps the measures of a record.
func (s *state) record(r train.Record) {
	for _, m := range []struct{ to, from **float64 }{{&s.last.Loss, &r.Loss}, {&s.last.ValLoss, &r.ValLoss}, {&s.last.GradNorm, &r.GradNorm}, {&s.last.LR, &r.LR}, {&s.last.TokensPerS, &r.TokensPerS}} {
		if *m.from != nil {
			*m.to = *m.from
		}
	}
	s.last.Step, s.last.Skipped = r.Step, r.Skipped
	if r.Loss != nil {
		s.losses = append(s.losses, *r.Loss)
		s.losses = s.losses[max(0, len(s.losses)-lossesOf):]
	}
}

// eta estimates the seconds until the last step, evaluations included; false where nothing
// is known yet.
func (s *state) eta() (float64, bool) {
	if len(s.marks) == 0 || s.at.Sub(s.marks[0].at) < rateAfter || s.total < s.step {
		return 0, false
	}
	first, last := s.marks[0], mark{s.step, s.at}
	if n := len(s.marks); n > 1 {
		last = s.marks[n-1] // steps and evaluations in the proportion that they go on in
	}
	took := last.at.Sub(first.at).Seconds() / float64(last.step-first.step)
	return took * float64(s.total-s.step), true
}

// trend is by how much the losses fall or rise: the mean of the second half of the last
// records less that of the first; false where there are few.
func (s *state) trend() (float64, bool) {
	n := len(s.losses)
	if n < 4 {
		return 0, false
	}
	mean := func(v []float64) (sum float64) {
		for _, x := range v {
			sum += x / float64(len(v))
		}
		return sum
	}
	return mean(s.losses[n-n/2:]) - mean(s.losses[:n-n/2]), true
}
