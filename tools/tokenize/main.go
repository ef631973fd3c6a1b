// Tokenize is the command tokenize of lemnos as a program of its own; -help tells what it does.
package main

import (
	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/tools/internal/tokenizecmd"
)

func main() { command.Main(tokenizecmd.Command) }
