package page

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lemnos-ml/lemnos/train"
)

const (
	listEvery  = time.Second // between looks into the folder, while somebody watches
	maxOthers  = 100         // runs that are listed, the newest
	maxMetrics = 64 << 20    // bytes of a metrics file that is read
	maxConfig  = 1 << 20
)

// other is another run of the folder.
type other struct {
	Name    string `json:"name"`
	Changed int64  `json:"changed"` // when its metrics were written, in Unix milliseconds
	Size    int64  `json:"size"`    // of its metrics file, in bytes
}

// folder is where the runs are. A run is asked for by a name of the list: no path is made of what a browser sends.
type folder struct {
	dir, live string

	mu    sync.Mutex
	list  []other
	names map[string]string // what is shown to what the folder is called

	reading sync.Mutex // one file at a time
}

func newFolder(cfg train.Config) *folder {
	f := &folder{dir: cfg.CkptDir, live: cfg.RunName}
	f.look()
	return f
}

// watch tells s when the list changed, until ctx ends.
func (f *folder) watch(ctx context.Context, s *state) {
	s.setOthers(f.list)
	tick := time.NewTicker(listEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.watched() && f.look() {
			s.setOthers(f.list)
		}
	}
}

// look lists the runs again and reports whether the list changed. A folder that can't be read has none.
func (f *folder) look() bool {
	entries, _ := os.ReadDir(f.dir)
	var list []other
	names := map[string]string{}
	for _, e := range entries {
		info, err := os.Stat(f.metrics(e.Name()))
		if e.Name() == f.live || err != nil || !info.Mode().IsRegular() {
			continue
		}
		name := strings.ToValidUTF8(e.Name(), "\uFFFD")
		names[name] = e.Name()
		list = append(list, other{name, info.ModTime().UnixMilli(), info.Size()})
	}
	slices.SortStableFunc(list, func(a, b other) int { return cmp.Compare(b.Changed, a.Changed) })
	list = list[:min(len(list), maxOthers)]
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names != nil && slices.Equal(list, f.list) {
		return false
	}
	f.list, f.names = list, names
	return true
}

func (f *folder) metrics(name string) string { return filepath.Join(f.dir, name, "metrics.jsonl") }

// answer is what another run has to show.
type answer struct {
	Records *columns `json:"records"`
	Config  []field  `json:"config"`
}

// errUnknown and errUnread are all that a browser is told: the reason quotes a file.
var (
	errUnknown = errors.New("there is no such run in the folder")
	errUnread  = errors.New("the run's metrics.jsonl can't be read")
)

// read returns the records and the configuration of a run of the list.
func (f *folder) read(shown string) (answer, error) {
	f.mu.Lock()
	name, ok := f.names[shown]
	f.mu.Unlock()
	if !ok {
		return answer{}, errUnknown
	}
	f.reading.Lock()
	defer f.reading.Unlock()
	if info, err := os.Stat(f.metrics(name)); err != nil || info.Size() > maxMetrics {
		return answer{}, errUnread
	}
	records, err := train.ReadMetrics(f.metrics(name))
	if err != nil {
		return answer{}, errUnread
	}
	a := answer{Records: &columns{}, Config: f.config(name)}
	for _, r := range records {
		a.Records.add(r)
	}
	return a, nil
}

// config returns the fields of a run's configuration, none where it can't be read.
func (f *folder) config(name string) []field {
	path := filepath.Join(f.dir, name, "config.json")
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxConfig))
	if err != nil {
		return nil
	}
	list, _ := fields(data)
	return list
}
