// Export is the command export of lemnos as a program of its own; -help tells what it does.
package main

import (
	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/tools/internal/exportcmd"
)

func main() { command.Main(exportcmd.Command) }
