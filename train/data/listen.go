package data

import (
	"log/slog"

	"github.com/lemnos-ml/lemnos/train/internal/meter"
)

// Phase says how far something is that takes long. It is told at its start, with Done 0;
// then a few times a second; and at its end, when Done is Total, be it 1 of 1. Until then
// a Total of 0 is one that nobody knows. A phase that fails has no end.
type Phase struct {
	Name        string // "tokenizing"
	Done, Total int64
	Unit        string // "bytes"; "" where there is nothing to count
}

// Listener is told what is done. A nil Listener hears nothing.
type Listener struct {
	// Logger receives warnings, and the phases where nothing else does; nil is silent.
	Logger *slog.Logger
	// Phase receives "loading data", "tokenizing" and "checking tokens".
	Phase func(Phase)
}

// orSilent returns a listener that may be told something.
func (l *Listener) orSilent() Listener {
	var own Listener
	if l != nil {
		own = *l
	}
	if own.Logger == nil {
		own.Logger = slog.New(slog.DiscardHandler)
	}
	return own
}

func (l Listener) start(name string, total int64, unit string) *meter.Meter {
	return meter.Start(l.Phase, l.Logger, name, total, unit)
}
