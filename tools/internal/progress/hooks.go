package progress

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/tools/internal/ceilings"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/vk"
)

// Hooks show a run of cfg on dev.
func (d *Display) Hooks(dev *vk.Device, cfg train.Config) train.Hooks {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.total, d.state.tokens = cfg.TotalSteps, float64(cfg.StepTokens())
	return train.Hooks{
		Phase: d.Phase,
		Step: func(step int64) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.state.submitted(step, time.Now())
		},
		Progress: d.record,
		Plan: func(p train.MemoryPlan) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.state.memory = p.Total()
		},
		Counts: func(step []ops.OpCount) {
			c := ceilings.Of(dev)
			least := c.LeastOf(step, ceilings.Cores(dev, cfg.Storage()))
			d.mu.Lock()
			defer d.mu.Unlock()
			d.state.least = least
		},
	}
}

// Listener shows what the data need.
func (d *Display) Listener() *data.Listener {
	return &data.Listener{Logger: d.Logger(), Phase: d.Phase}
}

// Phase shows how far something is that takes long.
func (d *Display) Phase(p train.Phase) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if text := d.state.phase(p, time.Now()); text != "" {
		d.say(text + "\n")
	}
}

// record shows a record in a line that stays if there is no live line, or it is of an
// evaluation.
func (d *Display) record(r train.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.record(r)
	if !d.Live() || r.ValLoss != nil {
		d.say(d.state.plain(r) + "\n")
	}
}

// Logger shows messages as lines: "resuming  checkpoint=…", and "warning: …".
func (d *Display) Logger() *slog.Logger {
	attributes := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}
	text := new(bytes.Buffer)
	return slog.New(handler{slog.NewTextHandler(text, &slog.HandlerOptions{ReplaceAttr: attributes}), d, text, new(sync.Mutex)})
}

// handler writes the level, if it is one to heed, and the message before the attributes.
type handler struct {
	slog.Handler // of the attributes, into text
	display      *Display
	text         *bytes.Buffer
	mu           *sync.Mutex // of text
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.Reset()
	if r.Level >= slog.LevelWarn {
		h.text.WriteString("warning: ")
	}
	h.text.WriteString(r.Message)
	if r.NumAttrs() > 0 {
		h.text.WriteString("  ")
	}
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.display.Write(h.text.Bytes())
	return err
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

func (h handler) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	return h
}
