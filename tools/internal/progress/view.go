package progress

import (
	"fmt"
	"strings"
	"time"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train"
)

// live is the live line of at most width columns, "" where there is nothing to say.
func (s *state) live(now time.Time, width int, style style) string {
	var fields []field
	share := -1.0
	if p := s.foreground(now); p != nil {
		fields = p.fields(now)
		if p.Total > 0 {
			share = float64(p.Done) / float64(p.Total)
		}
	}
	if len(s.marks) > 0 {
		if fields == nil {
			share = s.share()
		}
		fields = append(fields, s.fields()...)
	}
	for _, p := range s.phases {
		if p.behind && now.Sub(p.since) >= showAfter {
			fields = append(fields, field{p.Name, dim})
		}
	}
	if len(fields) == 0 {
		return ""
	}
	return style.layout(fields, share, width)
}

// foreground is the phase that the steps wait for, if it has taken a while.
func (s *state) foreground(now time.Time) *phase {
	for i := len(s.phases) - 1; i >= 0; i-- {
		if p := s.phases[i]; !p.behind && now.Sub(p.since) >= showAfter {
			return p
		}
	}
	return nil
}

// fields say how far a phase is.
func (p *phase) fields(now time.Time) []field {
	took := now.Sub(p.since)
	out := []field{{p.Name, ""}}
	if p.Unit != "" && (p.Done > 0 || p.Total > 0) {
		out = append(out, field{count(p.Done, p.Total, p.Unit), ""})
	}
	if p.Total == 0 || p.Done == 0 {
		return append(out, field{command.Duration(took.Seconds()), dim})
	}
	left := took.Seconds() / float64(p.Done) * float64(p.Total-p.Done)
	return append(out, field{percent(float64(p.Done) / float64(p.Total)), ""}, field{"eta " + command.Duration(left), ""})
}

func percent(share float64) string { return fmt.Sprintf("%.0f%%", 100*share) }

func (s *state) share() float64 { return float64(s.step) / float64(max(s.total, s.step, 1)) }

// fields say how far the run is, the most important ones first.
func (s *state) fields() []field {
	out := []field{{fmt.Sprintf("%d/%d", s.step, s.total), ""}, {percent(s.share()), ""}}
	if left, ok := s.eta(); ok {
		out = append(out, field{"eta " + command.Duration(left), ""})
	}
	if r := s.last; r.Loss != nil {
		out = append(out, field{"loss " + loss(*r.Loss), ""})
		if by, ok := s.trend(); ok {
			colour := green
			if by > 0 {
				colour = yellow
			}
			out = append(out, field{fmt.Sprintf("(%+.2g)", by), colour})
		}
	}
	val, rest := measures(s.last)
	out = append(out, val...)
	if v := s.last.TokensPerS; v != nil {
		out = append(out, field{speed(*v), ""})
		if share := s.least / 1e9 * *v / s.tokens; share > 0 && share <= 1 { // above it the ceilings are too low: caches, or a busy machine
			out = append(out, field{percent(share) + " of ceiling", ""})
		}
	}
	out = append(out, rest...)
	if s.memory > 0 {
		out = append(out, field{"mem " + amount(s.memory, "bytes"), ""})
	}
	return out
}

// measures are the held-out loss of a record, and what tells how the optimizer does.
func measures(r train.Record) (val, rest []field) {
	if r.ValLoss != nil {
		val = append(val, field{"val " + loss(*r.ValLoss), ""})
	}
	if r.LR != nil {
		rest = append(rest, field{fmt.Sprintf("lr %.1e", *r.LR), ""})
	}
	if r.GradNorm != nil {
		rest = append(rest, field{"grad " + norm(*r.GradNorm), ""})
	}
	if r.Skipped > 0 {
		rest = append(rest, field{fmt.Sprintf("skipped %d", r.Skipped), yellow})
	}
	return val, rest
}

func speed(tokensPerS float64) string { return short(tokensPerS) + " tok/s" }

// plain is a record as a line that stays.
func (s *state) plain(r train.Record) string {
	words := []string{fmt.Sprintf("step %d/%d", r.Step, s.total)}
	if r.Loss != nil {
		words = append(words, "loss "+loss(*r.Loss))
	}
	val, rest := measures(r)
	for _, f := range append(val, rest...) {
		words = append(words, f.text)
	}
	if r.TokensPerS != nil {
		words = append(words, speed(*r.TokensPerS))
	}
	if left, ok := s.eta(); ok && s.step < s.total {
		words = append(words, "eta "+command.Duration(left))
	}
	return strings.Join(words, "  ")
}

// overdue returns lines about phases that take long, where there is no live line.
func (s *state) overdue(now time.Time) (lines []string) {
	for _, p := range s.phases {
		wait := tellEvery
		if p.told.IsZero() {
			p.told = p.since
		}
		if len(s.marks) == 0 && p.told.Equal(p.since) {
			wait = tellAfter
		}
		if p.behind || now.Sub(p.told) < wait {
			continue
		}
		p.told = now
		var words []string
		for _, f := range p.fields(now) {
			words = append(words, f.text)
		}
		lines = append(lines, strings.Join(words, "  "))
	}
	return lines
}
