// Sample is the command sample of lemnos as a program of its own; -help tells what it does.
package main

import (
	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/tools/internal/samplecmd"
)

func main() { command.Main(samplecmd.Command) }
