package train

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/output"
)

func TestMetricsLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "metrics.jsonl")
	m, err := openMetrics(output.OS{}, path, 0)
	if err != nil {
		t.Fatal(err)
	}
	records := []Record{
		{Step: 0, ValLoss: new(5.5)},
		{Step: 50, Loss: new(2.25), LR: new(3e-4), GradNorm: new(0.1), TokensPerS: new(81000.0)},
		{Step: 100, Loss: new(math.NaN()), ValLoss: new(math.Inf(1)), GradNorm: new(math.Inf(-1))},
	}
	for _, r := range records {
		if err := m.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Append(Record{Step: 99}); err == nil || !strings.Contains(err.Error(), "step 99 after step 100") {
		t.Errorf("a step back: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	want := `{"step":0,"val_loss":5.5}
{"step":50,"loss":2.25,"lr":0.0003,"grad_norm":0.1,"tokens_per_s":81000}
{"step":100,"loss":"NaN","val_loss":"+Inf","grad_norm":"-Inf"}
`
	if err != nil || string(got) != want {
		t.Errorf("file: %v\n%s\nwant\n%s", err, got, want)
	}
	back, err := ReadMetrics(path)
	if err != nil || len(back) != 3 {
		t.Fatalf("read %d records, %v", len(back), err)
	}
	if !reflect.DeepEqual(back[:2], records[:2]) {
		t.Errorf("read %+v", back)
	}
	if v := *back[2].Loss; !math.IsNaN(v) {
		t.Errorf("NaN came back as %v", v)
	}
	if up, down := *back[2].ValLoss, *back[2].GradNorm; !math.IsInf(up, 1) || !math.IsInf(down, -1) {
		t.Errorf("infinities came back as %v, %v", up, down)
	}
}

func TestMetricsContinueAfterResume(t *testing.T) {
	const first = `{"step":0,"val_loss":5}
{"step":50,"loss":4}
{"step":100,"loss":3}
{"step":150,"loss":2}
`
	for _, c := range []struct {
		name string
		old  string
		step int64
		want string // the steps in the file before anything is appended
	}{
		{"checkpoint at a record", first, 100, "0 50 100"},
		{"checkpoint between records", first, 75, "0 50"},
		{"checkpoint after all", first, 1000, "0 50 100 150"},
		{"begun anew", first, 0, ""},
		{"empty file", "", 100, ""},
		{"last line torn", first + `{"step":160,"lo`, 1000, "0 50 100 150"},
		{"last line lacks its end", first + `{"step":160}`, 1000, "0 50 100 150"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "metrics.jsonl")
			if err := os.WriteFile(path, []byte(c.old), 0o666); err != nil {
				t.Fatal(err)
			}
			m, err := openMetrics(output.OS{}, path, c.step)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if got := stepsIn(t, path); got != c.want {
				t.Errorf("opened: steps %q, want %q", got, c.want)
			}
			if err := m.Append(Record{Step: 2000, Loss: new(1.0)}); err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSpace(c.want + " 2000")
			if got := stepsIn(t, path); got != want {
				t.Errorf("appended: steps %q, want %q", got, want)
			}
			if got := stepsOf(m.Records()); got != want {
				t.Errorf("Records: steps %q, want %q", got, want)
			}
		})
	}
}

func stepsIn(t *testing.T, path string) string {
	t.Helper()
	records, err := ReadMetrics(path)
	if err != nil {
		t.Fatal(err)
	}
	return stepsOf(records)
}

func stepsOf(records []Record) string {
	var words []string
	for _, r := range records {
		words = append(words, strconv.FormatInt(r.Step, 10))
	}
	return strings.Join(words, " ")
}

func TestMetricsErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	for _, text := range []string{"{\"step\":1}\nstep 2\n", "{\"step\":1}\n{\"step\":2,\"loss\":\"much\"}\n", "{\"step\":1}\n{\"step\":\"2\"}\n"} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{errorOf(ReadMetrics(path)), errorOf(openMetrics(output.OS{}, path, 5))} {
			if err == nil || !strings.Contains(err.Error(), "line 2 of "+path) || !strings.Contains(err.Error(), "remove that line, or the file") {
				t.Errorf("%q: error %v does not name the line", text, err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("the refused file was changed to %q, %v", got, err)
		}
	}
}

func errorOf[T any](_ T, err error) error { return err }
