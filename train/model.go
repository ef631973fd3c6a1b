package train

import (
	"errors"
	"reflect"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// Model is what the loop trains: parameters, and a loss that can be appended to
// any graph. nn.Bigram is one; users write their own from ops alone. For these
// [Config.Model] and the fields of its structure are left as they are: they say what
// [NewModel] makes, and a run writes what it trains, see [Describer].
type Model interface {
	// Params returns the allocated parameters, always the same set.
	Params() *ops.Params
	// Loss appends the mean loss, in nats per token, of targets y given inputs x,
	// both integer (B, T); a target of -100 does not count.
	Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor
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
	if m.Params() == nil || len(m.Params().Banks()) == 0 {
		return errors.New("the model has no parameters with memory: call Alloc first")
	}
	return nil
}
