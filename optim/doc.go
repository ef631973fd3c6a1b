// Package optim updates parameters on the device: AdamW for any number of
// tensors in one dispatch, the global gradient norm and clipping, learning-rate
// schedules and dynamic loss scaling. It knows parameters, not models.
//
// An optimizer is made once for a parameter set and recorded into the graphs
// that update it:
//
//	opt, err := optim.NewAdamW(params, &optim.Options{MaxNorm: new(1.0)})
//	…
//	g.Backward(loss, nil) // from the loss scale, accumulating, as opt was told
//	update := opt.Record(g)
//	step, err := g.Compile()
//	for t := int64(0); t < steps; t++ {
//		opt.SetLR(schedule.At(t))
//		if err := update.Stage(step); err != nil { … }
//		if err := step.Run(); err != nil { … }
//	}
//
// The recorded update is three dispatches (partial norms, the decision, the
// update), for one tensor or ten thousand; a set that is too large for one
// [ops.Bank] adds two for each further bank. Norm, clipping factor and the
// decision to skip a step stay on the device.
//
// Learning rates are plain numbers per step, betas, eps and decay are
// dimensionless. Like the device, an optimizer is for one goroutine.
package optim
