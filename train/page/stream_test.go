package page

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/vk"
)

// device is one for pages that nothing is trained beside.
func (p *Page) device() vk.Info { return vk.Info{Name: "a device", Memory: 1 << 30} }

// stream is what a browser that reads the events knows.
type stream struct {
	t       *testing.T
	body    io.ReadCloser
	lines   *bufio.Reader
	id      string // of the last event
	next    string // of the one that is coming
	resets  int
	about   *about
	others  []other
	steps   []int64
	loss    []*float64
	samples []string
	status  status
	ended   bool // the server ended the stream
}

// open connects as a browser does that was cut off after the event lastID, "" for a new one.
func open(t *testing.T, p *Page, lastID string) *stream {
	t.Helper()
	return openAt(t, p, "", lastID)
}

// openAt also has a query, as of a page that was hidden meanwhile.
func openAt(t *testing.T, p *Page, query, lastID string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	late := time.AfterFunc(patience, cancel)
	t.Cleanup(func() { late.Stop(); cancel() })
	r, err := http.NewRequestWithContext(ctx, "GET", p.URL()+"events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
	t.Cleanup(func() { response.Body.Close() })
	return &stream{t: t, body: response.Body, lines: bufio.NewReader(response.Body)}
}

// until reads events until done.
func (s *stream) until(done func() bool) {
	s.t.Helper()
	for !done() {
		line, err := s.lines.ReadString('\n')
		if err == io.EOF {
			if s.ended = true; !done() {
				s.t.Fatal("the stream ended")
			}
			return
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			s.next = strings.TrimSpace(id)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			s.take(data)
			s.id = s.next // a browser counts an event whose end it has seen
		}
	}
}

func (s *stream) take(data string) {
	s.t.Helper()
	var n struct {
		Reset   bool
		About   *about
		Others  []other
		Records struct {
			Step []int64
			Loss []*float64
		}
		Samples []sample
		Status  status
	}
	if err := json.Unmarshal([]byte(data), &n); err != nil {
		s.t.Fatalf("%v: %.200s", err, data)
	}
	if n.Reset {
		s.resets++
		s.steps, s.loss, s.samples = nil, nil, nil
	}
	if n.About != nil {
		s.about = n.About
	}
	if n.Others != nil {
		s.others = n.Others
	}
	s.steps, s.loss = append(s.steps, n.Records.Step...), append(s.loss, n.Records.Loss...)
	for _, sample := range n.Samples {
		s.samples = append(s.samples, sample.Text)
	}
	s.status = n.Status
}

// counts tells whether the steps are those from 1 to n, each once.
func counts(steps []int64, n int64) bool {
	want := int64(0)
	return int64(len(steps)) == n && !slices.ContainsFunc(steps, func(s int64) bool { want++; return s != want })
}

// A browser that is cut off again and again while the run goes on has each record and each sample
// once, in order; one of another process starts anew.
func TestStreamHasNoGapsAndNoDoubles(t *testing.T) {
	const n = 30000
	p := listen(t, "127.0.0.1:0", testConfig(t))
	hooks := train.Hooks{Sample: func(step int64) string { return fmt.Sprint(step) }}
	p.Watch(&hooks, p.device())
	go func() {
		for step := range int64(n) {
			hooks.Step(step + 1)
			hooks.Progress(record(step + 1))
			if step%10000 == 9999 {
				hooks.Sample(step + 1)
			}
			if step%300 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	s := open(t, p, "")
	var cuts int
	for len(s.steps) < n || len(s.samples) < 3 {
		before := s.id
		s.until(func() bool { return s.id != before && s.id != "" && len(s.steps) > 0 || len(s.steps) == n })
		s.body.Close()
		again := open(t, p, s.id)
		if cuts%2 == 1 {
			again.body.Close()
			again = openAt(t, p, "?after="+s.id, "")
		}
		s.body, s.lines = again.body, again.lines
		cuts++
	}
	s.until(func() bool { return s.status.Step == n })
	if !counts(s.steps, n) || strings.Join(s.samples, " ") != "10000 20000 30000" || s.resets != 1 || cuts < 3 {
		t.Errorf("%d records, samples %v, %d resets, %d cuts", len(s.steps), s.samples, s.resets, cuts)
	}
	for _, id := range []string{"other.3.0", p.state.epoch + ".-1.0", p.state.epoch + ".99999999.0", p.state.epoch + ".0.99", p.state.epoch, "x", p.state.epoch + ".1.1.1x" + strings.Repeat("9", 50)} {
		s := open(t, p, id)
		s.until(func() bool { return len(s.steps) >= n })
		if !counts(s.steps, n) || s.resets != 1 {
			t.Errorf("after %q: %d records, %d resets", id, len(s.steps), s.resets)
		}
		s.body.Close()
	}
}

// Training goes on at its speed beside browsers that stopped reading, and Close does not wait for them.
func TestStoppedBrowsersHoldNothingUp(t *testing.T) {
	p := listen(t, "127.0.0.1:0", testConfig(t))
	hooks := train.Hooks{Sample: func(int64) string { return strings.Repeat("long", 100) }}
	p.Watch(&hooks, p.device())
	for range maxStreams {
		c, err := net.Dial("tcp", p.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.(*net.TCPConn).SetReadBuffer(4096)
		fmt.Fprint(c, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	start := time.Now()
	const n = 20000
	for step := range int64(n) {
		hooks.Step(step + 1)
		hooks.Progress(record(step + 1))
		hooks.Sample(step)
	}
	if took := time.Since(start); took > patience {
		t.Errorf("%d records took %v", n, took)
	}
	if len(p.state.samples) > maxSamples {
		t.Errorf("%d samples are kept", len(p.state.samples))
	}
	start = time.Now()
	p.Close(nil)
	if took := time.Since(start); took > answerTime/2 { // what a write to them may take
		t.Errorf("Close took %v", took)
	}
	none(t)
}

func TestLimits(t *testing.T) {
	p := listen(t, "127.0.0.1:0", testConfig(t))
	for range maxStreams {
		s := open(t, p, "")
		s.until(func() bool { return s.about != nil })
	}
	if r, _ := get(t, p, "GET", "/events"); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("one stream more than the limit: %s", r.Status)
	}
	if r, _ := get(t, p, "GET", "/"); r.StatusCode != http.StatusOK {
		t.Errorf("beside all streams the page is not served: %s", r.Status)
	}
	// Connections that stay open: those over the limit are closed without an answer.
	answered, refused := 0, 0
	for range maxConnections + 10 {
		c, err := net.Dial("tcp", p.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		fmt.Fprint(c, "GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := c.Read(make([]byte, 1)); err == nil {
			answered++
		} else if !os.IsTimeout(err) {
			refused++
		}
	}
	if refused < 10+maxStreams || answered < 10 || answered+refused != maxConnections+10 {
		t.Errorf("%d connections were answered and %d refused, want %d refused at least", answered, refused, 10+maxStreams)
	}
}

// What the hooks that were there are told stays, and the curve of a run that goes on begins at its start.
func TestWatchGoesOn(t *testing.T) {
	cfg := testConfig(t)
	write(t, filepath.Join(cfg.Dir(), "metrics.jsonl"), `{"step":1,"loss":0.125}`, `{"step":2,"loss":0.25}`, `{"step":3,"loss":"NaN","val_loss":2}`)
	write(t, filepath.Join(cfg.Dir(), "config.json"), `{"tokenizer": "chosen by the run", "betas": [ 0.9,`, `0.95 ]}`)
	for _, begun := range []bool{false, true} {
		p := listen(t, "127.0.0.1:0", cfg)
		var told []int64
		hooks := train.Hooks{Progress: func(r train.Record) { told = append(told, r.Step) }, Begun: func() { told = append(told, -1) }}
		p.Watch(&hooks, p.device())
		hooks.Phase(train.Phase{Name: "restoring", Done: 1, Total: 3, Unit: "bytes"})
		s := open(t, p, "")
		s.until(func() bool { return s.status.Phase != nil })
		if ph := *s.status.Phase; ph != (phase{"restoring", 1, 3, "bytes"}) {
			t.Errorf("the phase is %v", ph)
		}
		hooks.Phase(train.Phase{Name: "restoring", Done: 3, Total: 3, Unit: "bytes"})
		hooks.Plan(train.MemoryPlan{Parameters: 5, Host: 6})
		third := train.Record{Step: 3, Loss: new(math.NaN()), ValLoss: new(2.0)}
		if begun {
			hooks.Begun()
		} else {
			third.Loss = new(0.375)
			write(t, filepath.Join(cfg.Dir(), "metrics.jsonl"), `{"step":1,"loss":0.125}`, `{"step":2,"loss":0.25}`, `{"step":3,"loss":0.375,"val_loss":2}`)
			hooks.Progress(third) // which is in the file already
		}
		hooks.Step(4)
		hooks.Progress(record(4))
		s.until(func() bool { return len(s.steps) == 4 && len(s.about.Plan) > 0 })
		if !counts(s.steps, 4) || (s.loss[2] == nil) != begun || s.status.Phase != nil || s.status.Step != 4 {
			t.Errorf("begun %v: steps %v, phase %v, step %d", begun, s.steps, s.status.Phase, s.status.Step)
		}
		if s.about.Plan[0] != (part{"parameters", 5}) || s.about.Run != "live" || s.about.TokensPerStep != 32*256 || s.about.Device[0][1] != "a device" {
			t.Errorf("the run is %+v", s.about)
		}
		if want := []field{{"tokenizer", "chosen by the run"}, {"betas", "[0.9,0.95]"}}; !slices.Equal(s.about.Config, want) {
			t.Errorf("the configuration is %v, want %v", s.about.Config, want)
		}
		if want := map[bool]string{true: "[-1 4]", false: "[3 4]"}[begun]; fmt.Sprint(told) != want {
			t.Errorf("the hooks that were there were told %v, want %v", told, want)
		}
		write(t, filepath.Join(cfg.Dir(), "metrics.jsonl"), `{"step":1,"loss":0.125}`, `{"step":2,"loss":0.25}`, `{"step":3,"loss":"NaN","val_loss":2}`)
	}
}

// The curve of a run that goes on is there from the beginning, up to the checkpoint that it goes on from. One that is started
// afresh forgets it, and so does one whose file says something else by then.
func TestResumedCurveIsThereAtOnce(t *testing.T) {
	cfg := testConfig(t)
	lines := make([]string, 9)
	for i := range lines {
		lines[i] = fmt.Sprintf(`{"step":%d,"loss":0.5}`, i+1)
	}
	write(t, filepath.Join(cfg.Dir(), "metrics.jsonl"), lines...)
	p := listen(t, "127.0.0.1:0", cfg)
	s := open(t, p, "")
	s.until(func() bool { return s.about != nil })
	if len(s.steps) > 0 {
		t.Errorf("without a checkpoint: steps %v", s.steps)
	}
	write(t, filepath.Join(cfg.Dir(), "checkpoint-00000007.safetensors"))
	for name, c := range map[string]struct {
		hooks  train.Hooks
		begin  int64 // the last record when it begins
		resets int
	}{
		"as it was":     {train.Hooks{}, 7, 1},
		"afresh":        {train.Hooks{Fresh: true}, 0, 2},
		"from an older": {train.Hooks{}, 5, 2},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, filepath.Join(cfg.Dir(), "metrics.jsonl"), lines...)
			p := listen(t, "127.0.0.1:0", cfg)
			s := open(t, p, "")
			s.until(func() bool { return s.about != nil })
			if !counts(s.steps, 7) || s.status.Step != 7 {
				t.Errorf("at first: steps %v, step %d", s.steps, s.status.Step)
			}
			p.Watch(&c.hooks, p.device())
			write(t, filepath.Join(cfg.Dir(), "metrics.jsonl"), lines[:c.begin]...)
			c.hooks.Begun()
			c.hooks.Progress(record(c.begin + 1))
			s.until(func() bool { return s.status.Step == c.begin+1 && int64(len(s.steps)) == c.begin+1 })
			if !counts(s.steps, c.begin+1) || s.resets != c.resets {
				t.Errorf("steps %v, %d resets, want %d", s.steps, s.resets, c.resets)
			}
		})
	}
}

// write writes a file, its folder too.
func write(t *testing.T, path string, lines ...string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
