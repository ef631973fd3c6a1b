package train

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// MemoryPlan is the memory of a run from its first step to its last, in bytes:
// what buffers there are, known before any but the parameters exist. The driver
// is asked for a little more, since small buffers share allocations. What hooks
// allocate comes on top, and where the host does not see or cache the device's
// memory 16 MiB of its own, see vk.DeviceStats. So do, before the run begins, some
// MB for the check of matrix cores, see ops.CheckMatrixCores.
type MemoryPlan struct {
	Parameters  int64
	Gradients   int64
	Optimizer   int64 // what the update rules remember; in mixed precision the master copy, and the f32 sum of accumulated gradients
	Tokens      int64 // training tokens, when they stay on the device
	Activations int64 // what a training step computes on its way
	Inputs      int64 // batches and numbers of a training step, tables and flags
	Evaluation  int64 // the same of the evaluation pass
	Other       int64 // what the caller had on the device
	Host        int64 // rings through which the host writes and reads, in its own memory
}

// Total returns the device memory of the run: all but Host.
func (p MemoryPlan) Total() int64 {
	var n int64
	for _, part := range p.parts() {
		n += part.bytes
	}
	return n
}

type memoryPart struct {
	name  string
	bytes int64
}

// parts lists what Total adds up.
func (p MemoryPlan) parts() []memoryPart {
	return []memoryPart{{"parameters", p.Parameters}, {"gradients", p.Gradients}, {"optimizer", p.Optimizer}, {"tokens", p.Tokens},
		{"activations", p.Activations}, {"inputs", p.Inputs}, {"evaluation", p.Evaluation}, {"other", p.Other}}
}

// String returns the plan as a table.
func (p MemoryPlan) String() string {
	var b strings.Builder
	for _, part := range append(p.parts(), memoryPart{"total", p.Total()}, memoryPart{"on the host", p.Host}) {
		fmt.Fprintf(&b, "  %-12s %15d bytes\n", part.name, part.bytes)
	}
	return b.String()
}

const memoryAdvice = "a smaller batch_size (with grad_accum) or context_len, recompute, or mixed_precision takes less"

// advised is err, with what to do about it when memory is missing.
func advised(err error) error {
	if errors.Is(err, vk.ErrOutOfMemory) {
		return fmt.Errorf("%w; %s", err, memoryAdvice)
	}
	return err
}

// fits returns an error when a device has less memory than the plan needs.
func (p MemoryPlan) fits(info vk.Info) error {
	need := p.Total()
	if info.Kind != vk.Discrete {
		need += p.Host // the same memory
	}
	if uint64(need) > info.Memory {
		return fmt.Errorf("train: %w: the run needs %d bytes of memory, %s has %d; %s:\n%v", vk.ErrOutOfMemory, need, info.Name, info.Memory, memoryAdvice, p)
	}
	return nil
}

// memory adds up what the trainer will hold. before is what was on the device.
func (t *Trainer) memory(before vk.DeviceStats) (MemoryPlan, error) {
	p := MemoryPlan{Optimizer: t.opt.Bytes(), Tokens: t.source.bytes(), Host: before.HostBytes, Other: before.BufferBytes}
	for _, set := range t.sets {
		for _, b := range set.Banks() {
			p.Parameters += b.Values.Bytes()
			p.Other -= b.Values.Allocated()
			if !set.Frozen() {
				p.Gradients += b.Grads.Bytes()
				p.Other -= b.Grads.Allocated()
			}
		}
	}
	if t.total != nil {
		p.Inputs += t.total.Bytes()
	}
	for _, r := range t.recordings() {
		f, err := r.graph.Plan()
		if err != nil {
			return p, fmt.Errorf("train: %w", advised(err))
		}
		p.Activations += f.Arena
		p.Inputs += f.Inputs + f.Owned
		p.Host += f.Host
	}
	return p, nil
}

// memory adds what the evaluator will hold to the plan of a run.
func (e *Evaluator) memory(p *MemoryPlan) error {
	f, err := e.graph.Plan()
	if err != nil {
		return fmt.Errorf("train: evaluation: %w", advised(err))
	}
	p.Evaluation += f.Arena + f.Inputs + f.Owned
	p.Host += f.Host
	return nil
}

// recording is a graph on its way to a step.
type recording struct {
	graph *ops.Graph
	step  *ops.Step
}

func (r *recording) compile() (err error) {
	r.step, err = r.graph.Compile()
	return advised(err)
}

func (r *recording) close() error {
	switch {
	case r.step != nil:
		return r.step.Close()
	case r.graph != nil:
		r.graph.Release()
	}
	return nil
}
