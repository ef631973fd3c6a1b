package train

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/vk"
)

// Model is what the loop trains: parameters, and a loss that can be appended to
// any graph. nn.Bigram is one; a custom one is written from ops alone. For these
// [Config.Model] and the fields of its structure are left as they are: they say what
// [NewModel] makes, and a run writes what it trains, see [Describer]. With a method
// Logits a model generates text, see [nn.NewSequence].
type Model interface {
	// Params returns the allocated parameters, always the same set.
	Params() *ops.Params
	// Loss appends the mean loss, in nats per token, of targets y given inputs x,
	// both integer (B, T). A target of [data.PadTarget], which is -100, does not count;
	// evaluation fills its last batch up with these:
	//
	//	return g.CrossEntropy(logits, y, &ops.CrossEntropyOptions{IgnoreIndex: new(data.PadTarget)})
	Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor
}

// ManySets is a [Model] with several sets of parameters, each with a storage type
// of its own, trained or frozen: such as a base model and what adapts it.
type ManySets interface {
	// Sets returns the allocated sets, always the same ones. That of Params is among
	// them; no two parameters have one name.
	Sets() []*ops.Params
}

// paramSets lists the sets of a model's parameters.
func paramSets(m Model) []*ops.Params {
	if many, ok := m.(ManySets); ok {
		return many.Sets()
	}
	return []*ops.Params{m.Params()}
}

// reserved returns the name of the first parameter without memory, hence without a
// value; "" where all have some.
func reserved(m Model) string {
	for _, p := range paramSets(m) {
		for _, t := range p.All() {
			if t.Allocated() == 0 {
				return t.Name()
			}
		}
	}
	return ""
}

// lossOf is the loss of a model in a graph.
func lossOf(m Model, g *ops.Graph, x, y *ops.Tensor) (*ops.Tensor, error) {
	loss := m.Loss(g, x, y)
	switch {
	case g.Err() != nil:
		return nil, fmt.Errorf("train: %w", g.Err())
	case loss == nil:
		return nil, fmt.Errorf("train: Loss of a model of type %T returned nil", m)
	}
	return loss, nil
}

// explainPad adds to the error of a model that takes the target which does not count
// for a class what to do about it.
func explainPad(err error) error {
	var bad *ops.BadIndexError
	if errors.As(err, &bad) && bad.Value == data.PadTarget {
		return fmt.Errorf("%w; %d marks a target that does not count: the loss of the model needs the option IgnoreIndex: new(data.PadTarget)", err, data.PadTarget)
	}
	return err
}

// checkDevice reports that there is none.
func checkDevice(dev *vk.Device) error {
	if dev == nil {
		return errors.New("the device is nil: open one with vk.Open")
	}
	return nil
}

func checkModel(m Model) error {
	if v := reflect.ValueOf(m); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return errors.New("the model is nil")
	}
	if m.Params() == nil {
		return errors.New("the model has no parameters with memory: call Alloc first")
	}
	for _, p := range paramSets(m) {
		if p == nil || len(p.Banks()) == 0 {
			return errors.New("the model has no parameters with memory: call Alloc first")
		}
	}
	return nil
}
