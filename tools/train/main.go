// Train is the command train of lemnos as a program of its own; -help tells what it does.
package main

import (
	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/tools/internal/traincmd"
)

func main() { command.Main(traincmd.Command) }
