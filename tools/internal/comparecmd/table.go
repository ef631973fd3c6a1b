package comparecmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lemnos-ml/lemnos/train"
)

// missing stands for what is not known.
const missing = "-"

// printTables writes what the runs have come to, and in what they differ.
func printTables(w io.Writer, runs []*runData) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "run\tsteps\ttraining loss\tvalidation loss\tbest\tat step\ttokens/s\ttokens\ttime\tparameters")
	for _, r := range runs {
		best, at := missing, missing
		if b := r.best(); b != nil {
			best, at = show(b.ValLoss, "%.4f"), strconv.FormatInt(b.Step, 10)
		}
		took := missing
		if s := r.last(elapsed); s != nil {
			took = duration(*s)
		}
		fmt.Fprintln(t, strings.Join([]string{r.name, strconv.FormatInt(r.steps(), 10), show(r.last(loss), "%.4f"), show(r.last(valLoss), "%.4f"), best, at,
			show(r.rate(), "%.0f"), count(r.steps() * r.stepTokens()), took, count(r.parameters)}, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return printDifferences(w, runs)
}

// duration writes seconds, to a second or to a tenth where they are few.
func duration(s float64) string {
	to := time.Second
	if s < 60 {
		to /= 10
	}
	return time.Duration(s * float64(time.Second)).Round(to).String()
}

func show(v *float64, format string) string {
	if v == nil {
		return missing
	}
	return fmt.Sprintf(format, *v)
}

func count(n int64) string {
	if n == 0 {
		return missing
	}
	return strconv.FormatInt(n, 10)
}

// places are fields that say where a run is, and not what.
var places = []string{"run_name", "ckpt_dir"}

// printDifferences writes the fields of the configurations that are not the same in all runs.
func printDifferences(w io.Writer, runs []*runData) error {
	var known []*runData
	for _, r := range runs {
		if r.config != nil {
			known = append(known, r)
		}
	}
	if len(known) < 2 {
		return nil
	}
	head, rows := "field", []string{}
	for _, r := range known {
		head += "\t" + r.name
	}
	for _, field := range fieldNames(known) {
		var values []string
		for _, r := range known {
			values = append(values, value(r.config[field]))
		}
		if !slices.Contains(places, field) && slices.ContainsFunc(values, func(v string) bool { return v != values[0] }) {
			rows = append(rows, field+"\t"+strings.Join(values, "\t"))
		}
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "\nthe configurations are the same")
		return err
	}
	fmt.Fprintln(w, "\nthe configurations differ in")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, head)
	fmt.Fprintln(t, strings.Join(rows, "\n"))
	return t.Flush()
}

// fieldNames lists those of all configurations, in the order that they are written in.
func fieldNames(runs []*runData) (all []string) {
	text, _ := json.Marshal(train.DefaultConfig()) // has no value that JSON lacks
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.Token()
	for dec.More() {
		name, _ := dec.Token()
		all = append(all, name.(string))
		var skipped json.RawMessage
		dec.Decode(&skipped)
	}
	var others []string // of another version
	for _, r := range runs {
		for name := range r.config {
			if !slices.Contains(all, name) && !slices.Contains(others, name) {
				others = append(others, name)
			}
		}
	}
	slices.Sort(others)
	return append(all, others...)
}

// value is a field's value in a line.
func value(raw json.RawMessage) string {
	var text string
	switch {
	case raw == nil:
		return missing
	case json.Unmarshal(raw, &text) == nil && text != "" && strconv.Quote(text) == `"`+text+`"`:
		return text
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}
