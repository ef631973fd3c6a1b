package train

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lemnos-ml/lemnos/train/internal/output"
	"github.com/lemnos-ml/lemnos/train/tensorboard"
)

// eventLog writes event files for TensorBoard: one for each start of a run, as its
// readers want it. It is for one goroutine; a nil one writes nothing.
type eventLog struct {
	files output.System
	dir   string
	path  string
	file  output.File // nil: what is written next begins another file
	some  bool        // file holds more than what every file begins with
	queue [][]byte    // records that are in no file yet, the oldest first
}

// maxQueue bounds the bytes of records that wait for a file system that takes them again.
const maxQueue = 64 << 20

// Names of event files: readers want "tfevents" in them, and that they sort as they were begun.
const eventStart, eventEnd = "events.out.tfevents.", ".lemnos"

// eventTime returns the Unix time in the name of an event file of a run.
func eventTime(name string) (seconds int64, ok bool) {
	digits, begins := strings.CutPrefix(name, eventStart)
	digits, ends := strings.CutSuffix(digits, eventEnd)
	seconds, err := strconv.ParseInt(digits, 10, 64)
	return seconds, begins && ends && err == nil && name == eventFileName(seconds)
}

func eventFileName(seconds int64) string {
	return fmt.Sprintf("%s%010d%s", eventStart, seconds, eventEnd)
}

// newest returns the time in the name of the newest event file, 0 where there is none.
func (l *eventLog) newest() (seconds int64, err error) {
	names, err := l.files.Names(l.dir)
	for _, name := range names {
		if at, ok := eventTime(name); ok {
			seconds = max(seconds, at)
		}
	}
	return seconds, err
}

// begin tells readers that the run goes on after a step, and what it is. A run
// without event files so far gets the curves that it has.
func (l *eventLog) begin(step int64, cfg Config, records []Record) error {
	if l == nil {
		return nil
	}
	newest, err := l.newest()
	if err != nil {
		newest = 0
	}
	from := step + 1 // what a killed process measured there and later is void
	if step == 0 {
		from = 0
	}
	now := time.Now()
	l.queue = append(l.queue, tensorboard.Start(now, from))
	if newest == 0 {
		l.queue = append(l.queue, replay(now, records)...)
	}
	l.queue = append(l.queue, tensorboard.Event(now, step, tensorboard.Text("configuration", cfg.markdown()),
		tensorboard.Layout("loss", tensorboard.Chart{Title: "training and validation", Tags: []string{"^loss/train$", "^loss/validation$"}})))
	return errors.Join(err, l.flush())
}

// renew writes what is known of the run into a new file, as its folder was made anew.
func (l *eventLog) renew(step int64, cfg Config, records []Record) error {
	if l == nil {
		return nil
	}
	l.queue = nil
	return errors.Join(l.close(), l.begin(step, cfg, records))
}

// replay returns the events of records, the last of which is taken to be of this moment.
func replay(now time.Time, records []Record) (all [][]byte) {
	begun := now.Add(-seconds(elapsed(records)))
	wall := begun
	for _, r := range records {
		if r.ElapsedS != nil {
			wall = begun.Add(seconds(*r.ElapsedS))
		}
		all = append(all, scalars(wall, r))
	}
	return all
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// scalars is the event of a record.
func scalars(wall time.Time, r Record) []byte {
	var values []tensorboard.Value
	for _, f := range []struct {
		tag string
		v   *float64
	}{{"loss/train", r.Loss}, {"loss/validation", r.ValLoss}, {"learning_rate", r.LR}, {"grad_norm", r.GradNorm}, {"tokens_per_s", r.TokensPerS}} {
		if f.v != nil {
			values = append(values, tensorboard.Scalar(f.tag, *f.v))
		}
	}
	if r.Loss != nil {
		values = append(values, tensorboard.Scalar("skipped", float64(r.Skipped)))
	}
	return tensorboard.Event(wall, r.Step, values...)
}

// record writes a record.
func (l *eventLog) record(r Record) error {
	if l == nil {
		return nil
	}
	l.queue = append(l.queue, scalars(time.Now(), r))
	return l.flush()
}

// add writes what was found after a step.
func (l *eventLog) add(step int64, values ...tensorboard.Value) error {
	if l == nil || len(values) == 0 {
		return nil
	}
	l.queue = append(l.queue, tensorboard.Event(time.Now(), step, values...))
	return l.flush()
}

// sample writes a sample as it is, whatever it means in Markdown.
func (l *eventLog) sample(step int64, text string) error {
	if text == "" {
		return nil
	}
	return l.add(step, tensorboard.Text("sample", "    "+strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\n", "\n    ")))
}

// flush writes the queue. A record that was written in part is written again, to
// another file: readers leave the part out.
func (l *eventLog) flush() error {
	err := l.create()
	for err == nil && len(l.queue) > 0 {
		if _, err = l.file.Write(l.queue[0]); err == nil {
			l.queue, l.some = l.queue[1:], true
		}
	}
	if err == nil {
		return nil
	}
	bytes := 0
	for i, record := range slices.Backward(l.queue) {
		if bytes += len(record); bytes > maxQueue {
			l.queue = l.queue[i+1:]
			break
		}
	}
	return fmt.Errorf("train: events: %w", errors.Join(err, l.drop()))
}

// create opens another file unless one is open.
func (l *eventLog) create() error {
	if l.file != nil {
		return nil
	}
	newest, err := l.newest()
	if err != nil {
		return err
	}
	l.path, l.some = filepath.Join(l.dir, eventFileName(max(time.Now().Unix(), newest+1))), false
	if l.file, err = l.files.Create(l.path); err != nil {
		l.file = nil
		return err
	}
	if _, err := l.file.Write(tensorboard.Version(time.Now())); err != nil {
		return err
	}
	return l.files.SyncDir(l.dir)
}

// drop closes the file, and removes one that holds nothing.
func (l *eventLog) drop() error {
	if l.file == nil {
		return nil
	}
	err := l.close()
	if !l.some {
		err = errors.Join(err, l.files.Remove(l.path))
	}
	return err
}

// sync makes what was written durable.
func (l *eventLog) sync() error {
	if l == nil {
		return nil
	}
	if err := l.flush(); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("train: events: %w", errors.Join(err, l.close()))
	}
	return nil
}

// finish writes what waits, and closes the file.
func (l *eventLog) finish() error {
	if l == nil {
		return nil
	}
	var err error
	if len(l.queue) > 0 {
		err = l.flush()
	}
	return errors.Join(err, l.close())
}

func (l *eventLog) close() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// markdown is the configuration as a table.
func (c Config) markdown() string {
	var b strings.Builder
	b.WriteString("| field | value |\n|---|---|\n")
	escape := strings.NewReplacer("\\", "\\\\", "|", "\\|", "\n", " ", "`", "\\`", "*", "\\*", "_", "\\_", "<", "&lt;")
	for _, f := range fields {
		fmt.Fprintf(&b, "| %s | %s |\n", escape.Replace(f.name), escape.Replace(fmt.Sprint(f.get(c))))
	}
	return b.String()
}
