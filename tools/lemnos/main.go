// Lemnos trains language models on any GPU with a Vulkan driver, and samples from
// them; each of its commands tells with -help what it does.
//
//	go install github.com/lemnos-ml/lemnos/tools/lemnos@latest
//	lemnos train
package main

import (
	"os"

	"github.com/lemnos-ml/lemnos/tools/internal/benchcmd"
	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/tools/internal/comparecmd"
	"github.com/lemnos-ml/lemnos/tools/internal/devicescmd"
	"github.com/lemnos-ml/lemnos/tools/internal/doctorcmd"
	"github.com/lemnos-ml/lemnos/tools/internal/exportcmd"
	"github.com/lemnos-ml/lemnos/tools/internal/samplecmd"
	"github.com/lemnos-ml/lemnos/tools/internal/tokenizecmd"
	"github.com/lemnos-ml/lemnos/tools/internal/traincmd"
)

// commands are those of the program, in the order of its help.
var commands = []*command.Command{
	traincmd.Command,
	samplecmd.Command,
	tokenizecmd.Command,
	exportcmd.Command,
	benchcmd.Command,
	devicescmd.Command,
	doctorcmd.Command,
	comparecmd.Command,
}

func main() {
	os.Exit(command.Watched(run, &command.Process{Called: os.Args[0], Whole: true, Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
}
