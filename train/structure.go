package train

import "fmt"

// checkStructure reports a field of c that was set to something else than the model
// to start from, which is at path and which source describes, has: its parameters
// would be another model's, or fit none.
func (c Config) checkStructure(source Config, set map[string]bool, path string) error {
	has := source.resolved()
	for _, f := range fields {
		if f.resume != "model" || !set[f.name] || f.name == "rope_theta" && source.Positions == "learned" {
			continue
		}
		with := source
		f.of(&with).Set(f.of(&c))
		if with = with.resolved(); with != has {
			return fmt.Errorf("train: %s is %s, but the model to start from, %s, has %s: leave %[1]s out, or start from another model", f.name, show(f.get(with)), path, show(f.get(has)))
		}
	}
	return nil
}

// checkPositions reports sequences that are longer than the table of positions of the
// model to start from.
func (c Config) checkPositions(source Config, path string) error {
	asked, there := c.Transformer().Context, source.Transformer().Context
	if c.Positions != "learned" || asked <= there {
		return nil
	}
	name := "context_len"
	if c.Context != 0 {
		name = "max_context"
	}
	return fmt.Errorf("train: %s is %d, but the model to start from, %s, has learned %d positions and no more", name, asked, path, there)
}
