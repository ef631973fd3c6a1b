// Package fault tells apart why a file can't be used. Its functions mark an error, whose
// text stays as it is, for errors.Is.
package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// What a file is that can't be used. Package train has the same for its users.
var (
	ErrDamaged     = errors.New("damaged")     // not what its format says: cut short, changed, or malformed
	ErrMismatched  = errors.New("mismatched")  // whole, and of another model, other data or another configuration
	ErrUnsupported = errors.New("unsupported") // whole, and of a kind that is not read
)

// marked is an error of one of the kinds.
type marked struct {
	error
	kind error
}

// Unwrap implements errors.Is.
func (m marked) Unwrap() []error { return []error{m.error, m.kind} }

// Known reports whether an error is of one of the kinds.
func Known(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, ErrMismatched) || errors.Is(err, ErrUnsupported)
}

// mark leaves nil, errors that are of a kind already, and those of the operating system
// and of a context as they are.
func mark(kind, err error) error {
	if system := new(fs.PathError); err == nil || Known(err) || errors.As(err, &system) ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return marked{err, kind}
}

// Damaged makes an error that is of no kind yet one of [ErrDamaged].
func Damaged(err error) error { return mark(ErrDamaged, err) }

// Mismatched makes an error that is of no kind yet one of [ErrMismatched].
func Mismatched(err error) error { return mark(ErrMismatched, err) }

// Unsupported makes an error that is of no kind yet one of [ErrUnsupported].
func Unsupported(err error) error { return mark(ErrUnsupported, err) }

// Mismatchedf is fmt.Errorf of an error of [ErrMismatched].
func Mismatchedf(format string, args ...any) error { return Mismatched(fmt.Errorf(format, args...)) }

// Unsupportedf is fmt.Errorf of an error of [ErrUnsupported].
func Unsupportedf(format string, args ...any) error { return Unsupported(fmt.Errorf(format, args...)) }
