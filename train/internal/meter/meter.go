// Package meter counts what takes long, and tells how far it is.
package meter

import (
	"log/slog"
	"time"
)

// phase is the type behind those of packages that this one can't import.
type phase = struct {
	Name        string
	Done, Total int64
	Unit        string
}

// The time between two calls of a function, which redraws a line, and between two messages of a log.
const (
	redrawn = 100 * time.Millisecond
	logged  = 2 * time.Second
)

// Meter is one phase. A nil one counts nothing.
type Meter struct {
	Every time.Duration // the least time between two that are told

	tell func(phase)
	now  phase
	last time.Time
}

// Start begins a phase and tells f of it, or log where f is nil. A total of 0 is not known.
func Start[P ~phase](f func(P), log *slog.Logger, name string, total int64, unit string) *Meter {
	m := &Meter{now: phase{name, 0, total, unit}, Every: redrawn}
	switch {
	case f != nil:
		m.tell = func(p phase) { f(P(p)) }
	case log != nil:
		m.Every, m.tell = logged, func(p phase) { write(log, p) }
	default:
		return nil
	}
	m.say()
	return m
}

func write(log *slog.Logger, p phase) {
	switch {
	case p.Done == 0:
		log.Info(p.Name)
	case p.Total == 0:
		log.Info(p.Name, "done", p.Done, "unit", p.Unit)
	default:
		log.Info(p.Name, "done", p.Done, "of", p.Total, "unit", p.Unit)
	}
}

func (m *Meter) say() {
	m.last = time.Now()
	m.tell(m.now)
}

// Add counts n more.
func (m *Meter) Add(n int) {
	if m != nil {
		m.Set(m.now.Done+int64(n), m.now.Total)
	}
}

// Set says how far it is. It tells that only so often, and leaves the end to End.
func (m *Meter) Set(done, total int64) {
	if m == nil {
		return
	}
	m.now.Done, m.now.Total = done, total
	if total > 0 {
		m.now.Done = min(done, total)
	}
	if (total == 0 || done < total) && time.Since(m.last) >= m.Every {
		m.say()
	}
}

// End tells the end: all is done of what there was, 1 of 1 where nothing was counted.
func (m *Meter) End() {
	if m == nil {
		return
	}
	m.now.Done = max(m.now.Done, m.now.Total, 1)
	m.now.Total = m.now.Done
	m.say()
}
