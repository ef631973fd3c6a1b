package ops

import (
	"slices"

	"github.com/lemnos-ml/lemnos/vk"
)

// scheduled is a call with its kernel.
type scheduled struct {
	*Call
	node   *node
	kernel *vk.Kernel
	epoch  int          // of calls that run side by side
	of     []*scheduled // the calls of the graph that it stands for; nil: itself
}

// parts are the calls of the graph that c is.
func (c *scheduled) parts() []*scheduled {
	if c.of == nil {
		return []*scheduled{c}
	}
	return c.of
}

// spare tells the device of which calls of the graph it need not compile the kernels: those
// that are not recorded, as nothing needs them or others do what they would.
func spare(all, recorded []*scheduled) {
	for _, c := range all {
		if !slices.Contains(recorded, c) {
			c.kernel.Spare()
		}
	}
}

func (c *scheduled) writes(i int) bool { return c.kernel.Bindings()[i]&vk.Write != 0 }

// touches lists what c does to its arguments.
func (c *scheduled) touches() (list []touch) {
	for i, t := range c.Args {
		list = append(list, t.touch(c.writes(i)))
	}
	return list
}
