package torch_test

import (
	"fmt"
	"log"

	"github.com/lemnos-ml/lemnos/train/torch"
)

// What a checkpoint of PyTorch holds of each parameter.
func ExampleOpen() {
	c, err := torch.Open("testdata/torch_adamw.pt")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	states, err := c.StateByName(nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range c.Names {
		fmt.Println(name, c.Model[name].DType, c.Model[name].Shape, states[name].Step)
	}
	// Output:
	// unused F32 [2] 0
	// embed.weight F32 [5 4] 3
	// proj.weight F32 [4 4] 3
	// proj.bias F32 [4] 3
	// head.weight F32 [5 4] 0
}
