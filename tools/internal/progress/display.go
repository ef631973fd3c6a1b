// Package progress shows how far a command is: on a terminal in one live line below
// the text that scrolls, elsewhere in plain lines without control characters.
//
// Nothing here waits for whoever reads: one goroutine writes, and what does not fit
// while the terminal is stopped (Ctrl-S) or the reader of a pipe sleeps is dropped.
package progress

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

// Display writes lines and, on a terminal, the live line below them. Its methods may be
// called from any goroutine.
type Display struct {
	term    terminal
	wake    chan struct{} // there are lines to write
	closing chan struct{}
	ended   chan struct{}
	close   sync.Once

	mu    sync.Mutex
	part  []byte // of a line that has no end yet
	lines bytes.Buffer
	state state
}

const (
	redrawEvery = 100 * time.Millisecond
	mostWaiting = 1 << 20 // bytes that wait to be written
	closeTime   = 2 * time.Second
)

// New returns a display on w, live if that is a terminal that can be. Close it.
func New(w io.Writer) *Display { return newDisplay(terminalOf(w)) }

func newDisplay(t terminal) *Display {
	d := &Display{term: t, wake: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{})}
	go d.write()
	return d
}

// Live tells whether there is a live line.
func (d *Display) Live() bool { return d.term.live() }

// Write implements io.Writer: it shows whole lines, without control characters. It never
// fails and never waits.
func (d *Display) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.part = append(d.part, p...)
	if end := bytes.LastIndexByte(d.part, '\n') + 1; end > 0 {
		d.say(string(d.part[:end]))
		d.part = append(d.part[:0], d.part[end:]...)
	}
	return len(p), nil
}

// say queues lines. d.mu is held.
func (d *Display) say(text string) {
	if d.lines.Len()+len(text) > mostWaiting {
		return
	}
	d.lines.WriteString(command.Printable(text))
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Close writes what waits, takes the live line away and ends the display. It waits, but
// not long. What is written later is dropped.
func (d *Display) Close() error {
	d.close.Do(func() {
		d.mu.Lock()
		if len(d.part) > 0 {
			d.say(string(d.part) + "\n")
		}
		d.mu.Unlock()
		close(d.closing)
	})
	select {
	case <-d.ended:
	case <-time.After(closeTime):
	}
	return nil
}

// write is the goroutine that writes.
func (d *Display) write() {
	defer close(d.ended)
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	var l liveLine
	for open := true; open; {
		select {
		case <-tick.C:
		case <-d.wake:
		case <-d.closing:
			open = false
		}
		width := 0
		if d.Live() && open {
			width = d.term.width()
		}
		d.mu.Lock()
		now := time.Now()
		if !d.Live() {
			for _, text := range d.state.overdue(now) {
				d.say(text + "\n")
			}
		}
		lines := bytes.Clone(d.lines.Bytes())
		d.lines.Reset()
		live := ""
		if width > 0 {
			live = d.state.live(now, width-1, d.term.style) // the last column is where terminals differ
		}
		d.mu.Unlock()
		if out := l.redraw(lines, live, width); len(out) > 0 {
			d.term.Write(out) // if it fails there is nobody to tell
		}
	}
}

// liveLine is the line as it stands on the terminal.
type liveLine struct {
	text  string
	width int // of the terminal
}

// redraw returns what puts lines above the live line and makes that one text.
func (l *liveLine) redraw(lines []byte, text string, width int) []byte {
	if len(lines) == 0 && text == l.text && (width == l.width || text == "") {
		return nil
	}
	var out bytes.Buffer
	if l.text != "" {
		out.WriteString("\r\x1b[J")
	}
	out.Write(lines)
	if text != "" {
		// The cursor stands at the beginning, from where all is erased: also the rows into which a
		// terminal that becomes narrower breaks the line, and keys that are pressed.
		out.WriteString(text + "\r")
	}
	l.text, l.width = text, width
	return out.Bytes()
}
