package doctorcmd

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// How a check ended.
const (
	ok      = "ok"
	warning = "warning" // training works, and not as it could
	failure = "failure" // training does not work
	skipped = "skipped" // what it needs is not there
)

// Check is what was found out about one thing. Its keys in JSON stay as they are.
type Check struct {
	Name    string         `json:"name"`
	Status  string         `json:"status"`
	Summary string         `json:"summary"`           // one line
	Advice  string         `json:"advice,omitempty"`  // what to do, of what is not ok
	Details map[string]any `json:"details,omitempty"` // for who reads a bug report
}

func good(name, format string, args ...any) Check {
	return Check{Name: name, Status: ok, Summary: fmt.Sprintf(format, args...)}
}

func warn(name, advice, format string, args ...any) Check {
	return Check{Name: name, Status: warning, Summary: fmt.Sprintf(format, args...), Advice: advice}
}

func fail(name, advice, format string, args ...any) Check {
	return Check{Name: name, Status: failure, Summary: fmt.Sprintf(format, args...), Advice: advice}
}

// with adds details.
func (c Check) with(key string, value any) Check {
	if c.Details == nil {
		c.Details = map[string]any{}
	}
	c.Details[key] = value
	return c
}

// Report is all that was found out. Its keys in JSON stay as they are.
type Report struct {
	Format int     `json:"format"` // 1; another where the meaning of a key has changed
	Works  bool    `json:"works"`  // whether training would
	Checks []Check `json:"checks"`
}

func (r *Report) add(checks ...Check) {
	for _, c := range checks {
		r.Checks = append(r.Checks, c)
		r.Works = r.Works && c.Status != failure
	}
}

// writeJSON writes the report without the name of the user's home.
func (r *Report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r.private())
}

// private returns the report with ~ in place of the user's home.
func (r *Report) private() *Report {
	home, err := os.UserHomeDir()
	if err != nil || len(home) < 2 {
		return r
	}
	hide := func(s string) string { return hideHome(s, home) }
	p := &Report{Format: r.Format, Works: r.Works, Checks: make([]Check, len(r.Checks))}
	for i, c := range r.Checks {
		c.Summary, c.Advice = hide(c.Summary), hide(c.Advice)
		if c.Details != nil {
			c.Details = mapStrings(c.Details, hide).(map[string]any)
		}
		p.Checks[i] = c
	}
	return p
}

// hideHome writes ~ for a folder, but not for the beginning of another's name.
func hideHome(s, home string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, home)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if after == "" || strings.ContainsAny(after[:1], "/\\:;, \"')\n") {
			b.WriteString("~")
		} else {
			b.WriteString(home)
		}
		s = after
	}
}

// mapStrings applies f to all strings of a JSON value.
func mapStrings(value any, f func(string) string) any {
	switch v := value.(type) {
	case string:
		return f(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = mapStrings(v[i], f)
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, x := range v {
			m[key] = mapStrings(x, f)
		}
		return m
	case []string:
		list := make([]string, len(v))
		for i := range v {
			list[i] = f(v[i])
		}
		return list
	case map[string]string:
		m := make(map[string]string, len(v))
		for key, x := range v {
			m[key] = f(x)
		}
		return m
	}
	return value
}

// text writes a check as a line, and what to do as another.
func (c Check) text(w io.Writer) {
	fmt.Fprintf(w, "%-7s  %-13s %s\n", c.Status, c.Name, c.Summary)
	if c.Advice != "" {
		fmt.Fprintf(w, "%23s→ %s\n", "", c.Advice)
	}
}

// verdict is the last line of a text.
func (r *Report) verdict() string {
	var failed, warned []string
	for _, c := range r.Checks {
		switch c.Status {
		case failure:
			failed = append(failed, c.Name)
		case warning:
			warned = append(warned, c.Name)
		}
	}
	switch {
	case len(failed) > 0:
		return "training does not work here: " + strings.Join(failed, ", ")
	case len(warned) > 0:
		return "training works here, with warnings: " + strings.Join(warned, ", ")
	}
	return "training works here"
}
