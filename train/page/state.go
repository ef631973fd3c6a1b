package page

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lemnos-ml/lemnos/train"
)

const (
	maxPiece   = 5000     // records in one piece of a stream
	maxSamples = 100      // that are kept, the newest
	maxSample  = 64 << 10 // bytes of one that are kept
)

// state is what is known of the run. What tells it never waits for who reads it.
type state struct {
	total int64 // steps of the run

	mu      sync.Mutex
	epoch   string // of this process and of records, in cursors
	about   about
	others  []other
	records columns // only ever appended to, in an epoch
	samples []sample
	dropped int // samples that are no longer kept
	phase   *phase
	pace    pace
	ended   string // "" while the run goes on
	version cursor // of about and others
	readers map[chan struct{}]bool
}

// about is what seldom changes.
type about struct {
	Run           string  `json:"run"`
	TotalSteps    int64   `json:"total_steps"`
	TokensPerStep int64   `json:"tokens_per_step"`
	Config        []field `json:"config"`
	Device        []field `json:"device,omitempty"`
	Memory        uint64  `json:"memory,omitempty"` // bytes that the device has
	Plan          []part  `json:"plan,omitempty"`
}

// field is a name and its value in words.
type field [2]string

// part is one of those of a memory plan.
type part struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

type sample struct {
	Step int64  `json:"step"`
	Text string `json:"text"`
}

// phase is what the run does besides steps.
type phase struct {
	Name  string `json:"name"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
	Unit  string `json:"unit"`
}

// status is what changes all the time.
type status struct {
	Step  int64   `json:"step"`
	Left  float64 `json:"left,omitempty"` // seconds to the end; 0 when nobody knows
	Phase *phase  `json:"phase,omitempty"`
	Steps bool    `json:"training,omitempty"` // a step was done, and the run goes on
	Ended string  `json:"ended,omitempty"`
}

// news is one piece of a stream: what changed since the piece before it.
type news struct {
	Reset   bool     `json:"reset,omitempty"` // forget the run's records and samples
	About   *about   `json:"about,omitempty"`
	Others  []other  `json:"others,omitzero"`
	Records *columns `json:"records,omitempty"`
	Samples []sample `json:"samples,omitempty"`
	Status  status   `json:"status"`
}

// cursor is how far a reader is. The text form is the id of an event.
type cursor struct {
	epoch            string
	records, samples int
	about, others    int // versions; a reader that was cut off gets these again
}

func (c cursor) String() string { return fmt.Sprintf("%s.%d.%d", c.epoch, c.records, c.samples) }

func newState(a about, cfg train.Config) *state {
	return &state{epoch: rand.Text(), total: cfg.TotalSteps, about: a, version: cursor{about: 1, others: 1}, readers: map[chan struct{}]bool{}}
}

// parseCursor returns where a reader goes on: at the start, unless it was cut off from this run.
func (s *state) parseCursor(id string) cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	words := strings.Split(id, ".")
	if len(words) != 3 || words[0] != s.epoch {
		return cursor{}
	}
	records, errRecords := strconv.Atoi(words[1])
	samples, errSamples := strconv.Atoi(words[2])
	if errors.Join(errRecords, errSamples) != nil || records < 0 || records > s.records.len() || samples < 0 || samples > s.dropped+len(s.samples) {
		return cursor{}
	}
	return cursor{epoch: s.epoch, records: records, samples: samples}
}

// since returns what changed since a reader was at c, and moves c; more tells that there is more already.
func (s *state) since(c *cursor) (n news, more, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.epoch != s.epoch {
		*c = cursor{epoch: s.epoch}
		n.Reset = true
	}
	if c.about != s.version.about {
		c.about = s.version.about
		n.About = new(s.about)
	}
	if c.others != s.version.others {
		c.others = s.version.others
		n.Others = append([]other{}, s.others...)
	}
	if end := min(c.records+maxPiece, s.records.len()); c.records < end {
		n.Records = s.records.slice(c.records, end)
		c.records = end
	}
	c.samples = max(c.samples, s.dropped)
	n.Samples = append(n.Samples, s.samples[c.samples-s.dropped:]...)
	c.samples = s.dropped + len(s.samples)
	n.Status = status{Step: s.pace.step, Left: s.pace.left(s.total, time.Now()), Phase: s.phase, Steps: len(s.pace.marks) > 0 && s.ended == "", Ended: s.ended}
	return n, c.records < s.records.len(), s.ended != ""
}

// subscribe returns a channel that has something whenever something changed.
func (s *state) subscribe() chan struct{} {
	changed := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers[changed] = true
	return changed
}

func (s *state) unsubscribe(changed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, changed)
}

// watched reports whether there are readers.
func (s *state) watched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.readers) > 0
}

// change calls f and wakes the readers.
func (s *state) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	for changed := range s.readers {
		select {
		case changed <- struct{}{}:
		default: // it has not looked yet
		}
	}
}

// describe changes what the run is about.
func (s *state) describe(f func(*about)) {
	s.change(func() {
		f(&s.about)
		s.version.about++
	})
}

func (s *state) setOthers(list []other) {
	s.change(func() {
		s.others = list
		s.version.others++
	})
}

func (s *state) setPhase(p phase) {
	over := p.Total > 0 && p.Done >= p.Total
	s.change(func() {
		switch {
		case s.ended != "": // what is still being saved
		case !over:
			s.phase = &p
		case s.phase != nil && s.phase.Name == p.Name: // another may have begun meanwhile
			s.phase = nil
		}
	})
}

func (s *state) step(n int64) {
	s.change(func() {
		s.phase = nil
		s.pace.at(n, time.Now())
	})
}

func (s *state) record(r train.Record) {
	s.change(func() {
		s.records.add(r)
		s.pace.step = max(s.pace.step, r.Step)
	})
}

// earlier sets what the run wrote before it goes on. Readers who were told something else forget it.
func (s *state) earlier(records []train.Record) {
	var all columns
	for _, r := range records {
		all.add(r)
	}
	s.change(func() {
		if slices.Equal(all.Step, s.records.Step) {
			return
		}
		if s.records.len() > 0 {
			s.epoch = rand.Text()
		}
		s.records, s.pace.step = all, 0
		if n := all.len(); n > 0 {
			s.pace.step = all.Step[n-1]
		}
	})
}

func (s *state) sample(step int64, text string) {
	if len(text) > maxSample {
		text = text[:maxSample] + "…"
	}
	s.change(func() {
		s.samples = append(s.samples, sample{step, text})
		if more := len(s.samples) - maxSamples; more > 0 {
			s.samples = s.samples[more:]
			s.dropped += more
		}
	})
}

func (s *state) end(how string) {
	s.change(func() { s.ended, s.phase = how, nil })
}
