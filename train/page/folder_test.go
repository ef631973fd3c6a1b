package page

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A run that comes, grows or goes while somebody watches is told.
func TestOtherRunsChange(t *testing.T) {
	cfg := testConfig(t)
	p := listen(t, "127.0.0.1:0", cfg)
	s := open(t, p, "")
	s.until(func() bool { return s.others != nil })
	path := filepath.Join(cfg.CkptDir, "new", "metrics.jsonl")
	write(t, path, `{"step":1,"loss":2}`)
	s.until(func() bool { return len(s.others) == 1 })
	before := s.others[0]
	write(t, path, `{"step":1,"loss":2}`, `{"step":2,"loss":2}`)
	s.until(func() bool { return s.others[0].Size > before.Size })
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	s.until(func() bool { return len(s.others) == 0 })
}

func TestPace(t *testing.T) {
	var p pace
	now := time.Now()
	if left := p.left(100, now); left != 0 {
		t.Errorf("before the first step %v s are left", left)
	}
	for step := range int64(1001) { // 10 steps a second, after a slow start
		p.at(step, now)
		now = now.Add(100 * time.Millisecond)
	}
	now = now.Add(-100 * time.Millisecond)
	if left := p.left(1500, now); left < 49 || left > 51 {
		t.Errorf("%v s are left, want 50", left)
	}
	if len(p.marks) > paceMarks {
		t.Errorf("%d marks", len(p.marks))
	}
	if left := p.left(1000, now); left != 0 {
		t.Errorf("at the end %v s are left", left)
	}
}
