package page

import (
	"reflect"
	"slices"
	"sync"

	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/vk"
)

// Watch makes the page one that h tells of the run, after those that are told already: call it when
// all others are there. The samples are the texts that Sample returns. A Logger hears no more of what Progress,
// Phase and Plan are told, see [train.Hooks].
func (p *Page) Watch(h *train.Hooks, device vk.Info) {
	if p == nil {
		return
	}
	s := p.state
	if h.Fresh {
		s.earlier(nil)
	}
	s.describe(func(a *about) {
		a.Memory = device.Memory
		a.Device = []field{{"device", device.Name}, {"kind", device.Kind.String()}, {"driver", device.Driver}, {"Vulkan", device.API}}
	})
	var once sync.Once
	begin := func(first *train.Record) {
		once.Do(func() {
			s.earlier(p.history(first))
			if config := p.others.config(p.others.live); len(config) > 0 { // what was to be chosen is
				s.describe(func(a *about) { a.Config = config })
			}
		})
	}
	h.Listen(train.Hooks{
		Progress: func(r train.Record) { begin(&r); s.record(r) },
		Begun:    func() { begin(nil) },
		Plan:     func(m train.MemoryPlan) { s.describe(func(a *about) { a.Plan = parts(m) }) },
		Step:     s.step,
		Phase:    p.Phase,
	})
	if sample := h.Sample; sample != nil {
		h.Sample = func(step int64) string {
			text := sample(step)
			if text != "" {
				s.sample(step, text)
			}
			return text
		}
	}
}

// Phase tells the page what happens besides steps, such as the reading of data before [train.Run].
func (p *Page) Phase(now train.Phase) {
	if p != nil {
		p.state.setPhase(phase(now))
	}
}

// resumes returns what a run that goes on wrote up to its newest checkpoint: it will drop what comes after.
func (p *Page) resumes(cfg train.Config) []train.Record {
	path, step, err := train.Latest(cfg.Dir())
	if err != nil || path == "" {
		return nil
	}
	return slices.DeleteFunc(p.history(nil), func(r train.Record) bool { return r.Step > step })
}

// history returns what the run wrote before the record first, which is in the file already unless it is nil.
func (p *Page) history(first *train.Record) []train.Record {
	records, err := train.ReadMetrics(p.others.metrics(p.others.live))
	if err != nil { // the curve begins here
		return nil
	}
	if n := len(records); first != nil && n > 0 && reflect.DeepEqual(records[n-1], *first) {
		records = records[:n-1]
	}
	return records
}
