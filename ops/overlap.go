package ops

const (
	// overlapAhead is how far beyond a call that has to wait overlap looks for others.
	overlapAhead = 12
	// overlapShare bounds the intermediates that a call which goes ahead may begin: one part in so many of what a
	// step holds at most, or overlapBytes. The next chunk of logits, or block to recompute, waits until the one
	// before it has ended.
	overlapShare = 64
	overlapBytes = 16 << 10
)

// overlap puts calls into an order with fewer barriers: what may run beside the calls before it goes ahead of
// those that have to wait for these. So the second level of one sum does not hold up the first of another, nor
// products that need neither. Calls of which one writes what the other touches keep their order, and thereby every
// bit that they compute. Each call gets its epoch: calls of the same one need no barrier between them.
func overlap(calls []*scheduled) []*scheduled {
	touched := make([][]touch, len(calls))
	for i, c := range calls {
		touched[i] = c.touches()
	}
	begins, ends, most := lives(touched)
	var ordered []*scheduled
	for epoch, group := range inEpochs(touched, begins, ends, aheadBytes(most)) {
		for _, i := range group {
			calls[i].epoch = epoch
			ordered = append(ordered, calls[i])
		}
	}
	return ordered
}

// aheadBytes is how many bytes of intermediates may be in the way of others where most live at a time.
func aheadBytes(most int64) int64 { return max(most/overlapShare, overlapBytes) }

// inEpochs lists the calls of each epoch, by number, given the bytes of intermediates that each begins and ends. One that
// begins more than limit does not go ahead of others; one that begins four times as much waits for the next epoch if it can
// have the memory of what ends in this one. But for that there are no more epochs than in the order that the calls are in.
func inEpochs(touched [][]touch, begins, ends []int64, limit int64) (epochs [][]int) {
	rest := make([]int, len(touched))
	for i := range rest {
		rest[i] = i
	}
	for len(rest) > 0 {
		var group, later []int
		running, waiting, ended := touches{}, touches{}, int64(0)
		for at, i := range rest {
			if len(later) > 0 && i > later[0]+overlapAhead {
				later = append(later, rest[at:]...)
				break
			}
			large := begins[i] > limit && len(later) > 0 || begins[i] > 4*limit && begins[i] <= ended
			if large || running.conflict(touched[i]) || waiting.conflict(touched[i]) {
				waiting.add(touched[i])
				later = append(later, i)
				continue
			}
			running.add(touched[i])
			group, ended = append(group, i), ended+ends[i]
		}
		epochs = append(epochs, group)
		rest = later
	}
	return epochs
}

// lives returns how many bytes of intermediates each call is the first to touch, and how many the last, and how many live
// at a time, at most.
func lives(touched [][]touch) (begins, ends []int64, most int64) {
	begins, ends = make([]int64, len(touched)), make([]int64, len(touched))
	last := map[*memory]int{}
	for i, list := range touched {
		for _, t := range list {
			if t.mem.graph == nil || t.mem.input != nil {
				continue
			}
			if _, known := last[t.mem]; !known {
				begins[i] += t.mem.size
			}
			last[t.mem] = i
		}
	}
	for m, i := range last {
		ends[i] += m.size
	}
	var live int64
	for i := range touched {
		live += begins[i]
		most = max(most, live)
		live -= ends[i]
	}
	return begins, ends, most
}

// touch is the bytes of a memory that a call reads, or writes and maybe reads.
type touch struct {
	mem      *memory
	from, to int64
	writes   bool
}

func (t *Tensor) touch(writes bool) touch {
	return touch{t.mem, t.offset, t.offset + t.Bytes(), writes}
}

// touches is what some calls read and write.
type touches map[*memory][]touch

// conflict reports whether one of the touches must not run beside those of all.
func (all touches) conflict(list []touch) bool {
	for _, a := range list {
		for _, b := range all[a.mem] {
			if (a.writes || b.writes) && a.from < b.to && b.from < a.to {
				return true
			}
		}
	}
	return false
}

func (all touches) add(list []touch) {
	for _, t := range list {
		all[t.mem] = append(all[t.mem], t)
	}
}
