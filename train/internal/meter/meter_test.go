package meter

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type told struct {
	Name        string
	Done, Total int64
	Unit        string
}

// A phase is told at its start and its end, and between them only so often.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []told
		listen := func(p told) { all = append(all, p) }
		m := Start(listen, slog.New(slog.NewTextHandler(failing{t}, nil)), "reading", 100, "bytes")
		for range 99 {
			m.Add(1)
			time.Sleep(10 * time.Millisecond)
		}
		m.End()
		if n := len(all); n < 10 || n > 12 || all[0] != (told{"reading", 0, 100, "bytes"}) || all[n-1] != (told{"reading", 100, 100, "bytes"}) {
			t.Errorf("%d were told: %v", n, all)
		}
		for i := range len(all) - 1 {
			if all[i].Done >= all[i+1].Done {
				t.Errorf("%v before %v", all[i], all[i+1])
			}
		}
		all = nil
		Start(listen, nil, "nothing", 0, "").End()
		m = Start(listen, nil, "a pipe", 0, "bytes")
		time.Sleep(time.Second)
		m.Add(7)
		m.End()
		m = Start(listen, nil, "a file that grew", 5, "bytes")
		time.Sleep(time.Second)
		m.Add(7)
		m.End()
		want := []told{{"nothing", 0, 0, ""}, {"nothing", 1, 1, ""}, {"a pipe", 0, 0, "bytes"}, {"a pipe", 7, 0, "bytes"}, {"a pipe", 7, 7, "bytes"},
			{"a file that grew", 0, 5, "bytes"}, {"a file that grew", 5, 5, "bytes"}}
		if !slices.Equal(all, want) {
			t.Errorf("told\n%v, want\n%v", all, want)
		}
	})
}

// What no function hears is logged, and nothing where there is no log.
func TestMeterLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		m := Start[told](nil, slog.New(slog.NewTextHandler(&text, nil)), "reading", 500, "bytes")
		for range 500 {
			m.Add(1)
			time.Sleep(10 * time.Millisecond)
		}
		m.End()
		if n := strings.Count(text.String(), "\n"); n != 4 || !strings.Contains(text.String(), "msg=reading done=500 of=500 unit=bytes\n") {
			t.Errorf("%d lines in 5 s:\n%s", n, &text)
		}
	})
	m := Start[told](nil, nil, "reading", 500, "bytes")
	m.Add(1)
	m.Set(2, 3)
	m.End()
}

type failing struct{ *testing.T }

func (f failing) Write(p []byte) (int, error) {
	f.Errorf("logged beside the function: %s", p)
	return len(p), nil
}
