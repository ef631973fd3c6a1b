// Devices is the command devices of lemnos as a program of its own; -help tells what it does.
package main

import (
	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/tools/internal/devicescmd"
)

func main() { command.Main(devicescmd.Command) }
