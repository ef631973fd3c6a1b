// Bench is the command bench of lemnos as a program of its own; -help tells what it does.
package main

import (
	"github.com/lemnos-ml/lemnos/tools/internal/benchcmd"
	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

func main() { command.Main(benchcmd.Command) }
