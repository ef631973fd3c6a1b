// Package pace measures how long a recorded step takes.
package pace

import (
	"context"
	"time"
)

// Step is what an ops.Step can do.
type Step interface {
	Run() error                     // submits it
	Wait(ctx context.Context) error // until the last run is done
}

// Of runs a step again and again for at least so long, and returns the seconds that each took. The first run does not
// count, in which drivers compile.
func Of(ctx context.Context, step Step, least time.Duration) (seconds float64, err error) {
	if err := replay(ctx, step, 1); err != nil {
		return 0, err
	}
	for start, batch, done := time.Now(), 1, 0; ; batch *= 2 {
		if err := replay(ctx, step, batch); err != nil {
			return 0, err
		}
		done += batch
		if took := time.Since(start); took > least {
			return took.Seconds() / float64(done), nil
		}
	}
}

// replay runs a step some times and waits for the last.
func replay(ctx context.Context, step Step, n int) error {
	for range n {
		if err := step.Run(); err != nil {
			return err
		}
	}
	return step.Wait(ctx)
}
