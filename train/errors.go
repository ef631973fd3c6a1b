package train

import (
	"errors"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
)

// What ends a run, or makes a file of no use, for [errors.Is].
var (
	// ErrInterrupted is what [Run] returns when its context ended: what was trained is
	// saved, and the same call goes on from there.
	ErrInterrupted = errors.New("train: interrupted")
	// ErrRunning is wrapped by the error of a run whose folder another process is
	// training in.
	ErrRunning = errors.New("another process is training this run")

	// An error of every reader, those of the packages below train too, wraps one of
	// these, unless it is one of the operating system, such as [io/fs.ErrNotExist].

	// ErrDamaged: the file is not what its format says. It was cut short or changed, or
	// was malformed from the beginning: get it again, or go on from the one before it.
	ErrDamaged = fault.ErrDamaged
	// ErrMismatched: the file is whole, and is of another model, other data or another
	// configuration than what it is to be used with.
	ErrMismatched = fault.ErrMismatched
	// ErrUnsupported: the file is whole, and of a kind, a version or with a feature that
	// is not read.
	ErrUnsupported = fault.ErrUnsupported
)
