package traincmd

import (
	"cmp"

	"github.com/lemnos-ml/lemnos/train"
)

// listen has what shows a run told of it too, after what hooks tells already: of
// other, the functions that are told and not asked.
func listen(hooks *train.Hooks, other train.Hooks) {
	hooks.Plan = both(hooks.Plan, other.Plan)
	hooks.Counts = both(hooks.Counts, other.Counts)
	hooks.Progress = both(hooks.Progress, other.Progress)
	hooks.Phase = both(hooks.Phase, other.Phase)
	hooks.Step = both(hooks.Step, other.Step)
	hooks.Sample = samples(hooks.Sample, other.Sample)
	hooks.Plot = both(hooks.Plot, other.Plot)
}

// samples calls two functions, of which either may be nil, and returns the first's text.
func samples(first, second func(int64) string) func(int64) string {
	if first == nil {
		return second
	}
	if second == nil {
		return first
	}
	return func(step int64) string {
		text := first(step)
		return cmp.Or(text, second(step))
	}
}

// both calls two functions, of which either may be nil.
func both[T any](first, second func(T)) func(T) {
	if first == nil {
		return second
	}
	if second == nil {
		return first
	}
	return func(v T) {
		first(v)
		second(v)
	}
}
