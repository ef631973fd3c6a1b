// Package nn holds models built from package ops. A model declares its
// parameters once and appends its loss to any graph; it knows nothing of
// optimizers, data or files.
package nn
