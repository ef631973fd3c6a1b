package main

import (
	"fmt"
	"maps"
	"strings"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/vk"
)

// group is a set of graphs whose kernels are listed under one name.
type group struct {
	name  string
	build func(dev *vk.Device) error
}

// groups lists the presets, then each operation; a kernel is listed under the first that has it.
func groups() []group {
	var list []group
	for _, preset := range train.Presets() {
		for _, mixed := range []bool{false, true} {
			name := preset + " f32"
			if mixed {
				name = preset + " bf16"
			}
			list = append(list, group{name, func(dev *vk.Device) error { return presetGraphs(dev, preset, mixed) }})
		}
	}
	for _, o := range operations {
		types := []ops.DType{ops.F32, ops.BF16}
		if o.name == "matmul" {
			types = append(types, ops.F16) // a device may have matrix cores for one of them
		}
		for _, dt := range types {
			list = append(list, group{o.name + " " + dt.String(), func(dev *vk.Device) error { return o.plan(dev, dt) }})
		}
	}
	return append(list, group{otherDevices, otherKernels})
}

// presetGraphs compiles what a run of the preset does: training step with its update, evaluation, generating. All blocks
// have the same kernels, so two stand for all.
func presetGraphs(dev *vk.Device, preset string, mixed bool) error {
	c, err := train.Preset(preset)
	if err != nil {
		return err
	}
	c.Layers, c.MixedPrecision = min(c.Layers, 2), mixed
	model, err := nn.NewTransformer(dev, c.Storage(), c.Transformer(), c.Seed)
	if err != nil {
		return err
	}
	defer model.Params().Release()
	accumulate := c.GradAccum > 1
	opt, err := optim.NewAdamW(model.Params(), &optim.Options{Rule: optim.AdamW{Torch: c.AdamW == "torch"}, MaxNorm: (*float64)(&c.GradClipNorm), Accumulate: accumulate, Reserve: true})
	if err != nil {
		return err
	}
	defer opt.Release()
	tokens, err := ops.NewTensor(dev, ops.U16, 1<<20)
	if err != nil {
		return err
	}
	defer tokens.Release()

	pass := ops.NewGraph(dev)
	x, y, _ := pass.Batch(tokens, c.BatchSize, c.ContextLen, c.Seed)
	loss := model.Loss(pass, x, y)
	opt.Backward(pass, loss, 1)
	apply := pass
	if accumulate {
		apply = ops.NewGraph(dev)
	}
	opt.Record(apply)
	pass.Output(loss)
	evaluation := ops.NewGraph(dev)
	evaluation.Output(model.Loss(evaluation, evaluation.Input("x", ops.I32, c.BatchSize, c.ContextLen), evaluation.Input("y", ops.I32, c.BatchSize, c.ContextLen)))
	for _, g := range []*ops.Graph{pass, apply, evaluation} {
		if err := plan(g); err != nil {
			return err
		}
	}
	decoder, err := model.NewDecoder(c.ContextLen)
	if err != nil {
		return err
	}
	return decoder.Close()
}

// plan compiles the kernels of a graph, and frees it.
func plan(g *ops.Graph) error {
	defer g.Release()
	_, err := g.Plan()
	return err
}

// otherDevices is the group of kernels that the device chooses nowhere.
const otherDevices = "other devices"

// otherKernels compiles what this device does not choose in any graph, so that every kernel is known to compile. Most are
// for processors, and get the constants of one with subgroups of 8: others may make no sense and crash a compiler.
func otherKernels(dev *vk.Device) error {
	seen := map[string]bool{}
	for _, k := range dev.Kernels() {
		seen[k.Name()] = true
	}
	for _, module := range shaders.Names() {
		if strings.Contains(module, "_coop") { // whose device lists no matrices of that type
			continue
		}
		code, err := shaders.Load(module)
		if err != nil {
			return err
		}
		for _, half := range []string{"f16", "bf16"} {
			name := strings.ReplaceAll(module, "b16", half)
			if seen[name] {
				continue
			}
			seen[name] = true
			_, spec := shaders.Module(name)
			constants := map[uint32]uint32{shaders.SpecLocal: 8, shaders.SpecSubgroups: shaders.OneSubgroup}
			maps.Copy(constants, spec)
			if _, err := dev.Kernel(name, code, constants); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}
