package page

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	pause     = 100 * time.Millisecond // at least, between two pieces of a stream
	heartbeat = 15 * time.Second       // at most
)

// events streams what is new to a browser, from where it was cut off on or from the start. No queue stands between
// the run and the stream: it takes what changed since its last piece, when it can.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many browsers are watching", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // of proxies
	if r.Method == http.MethodHead {
		return
	}
	out := http.NewResponseController(w)
	send := func(format string, args ...any) error {
		if err := out.SetWriteDeadline(time.Now().Add(answerTime)); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return err
		}
		return out.Flush()
	}
	at := p.state.parseCursor(cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("after"))) // the first of a browser that tries again
	changed := p.state.subscribe()
	defer p.state.unsubscribe(changed)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	if send("retry: 1000\n\n") != nil {
		return
	}
	for {
		news, more, ended := p.state.since(&at)
		text, err := json.Marshal(news)
		if err != nil || send("id: %v\ndata: %s\n\n", at, text) != nil || ended && !more {
			return
		}
		if more {
			continue
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(pause):
		}
		for waiting := true; waiting; {
			select {
			case <-r.Context().Done():
				return
			case <-changed:
				waiting = false
			case <-beat.C:
				if send(":\n\n") != nil {
					return
				}
			}
		}
	}
}
