// Package optim updates parameters on the device: AdamW for any number of
// tensors in one dispatch and other rules beside it, the global gradient norm and
// clipping, learning-rate schedules and dynamic loss scaling. It knows sets of
// parameters, not models.
//
// An optimizer is made once for its parameters and recorded into the graphs that
// update them:
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
// [ops.Bank] adds two for each further bank, and so does each further set or rule.
// Norm, clipping factor and the decision to skip a step stay on the device.
//
// # Rules
//
// What turns a gradient into a new value is a [Rule], named by each [Group] of
// parameters. It says what it remembers of a value, which numbers a step has, and
// records one call. Everything else is here once for all rules: [Optimizer] divides
// each arena of parameters into one part per rule and gives each part arenas for its
// moments, so that nothing is allocated that no rule asked for; one norm and one
// decision hold for all parts of all sets; checkpoints and memory plans go through
// [Optimizer.Slots] and [Optimizer.Bytes] and know no rule by name.
//
// A set of parameters that is frozen, see [ops.Params.Freeze], has neither gradients
// nor a part here.
//
// Learning rates are plain numbers per step, betas, eps and decay are
// dimensionless. Like the device, an optimizer is for one goroutine.
package optim
