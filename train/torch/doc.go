// Package torch reads files that PyTorch wrote with torch.save. A pickle is a program;
// none of it is executed: of all that it could ask for, only the few calls that make
// tensors and dicts are known, and others are errors that name them.
package torch
