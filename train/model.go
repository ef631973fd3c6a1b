package train

import (
	"errors"

	"github.com/lemnos-ml/lemnos/ops"
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

func checkModel(m Model) error {
	if m == nil || m.Params() == nil || len(m.Params().Banks()) == 0 {
		return errors.New("train: the model has no parameters with memory: call Alloc first")
	}
	return nil
}
