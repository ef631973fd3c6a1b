package command

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version tells which version of the module the program was built from, by which
// compiler and for which system; of a build in a clone, the commit.
func Version() string {
	version, commit := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		changed := ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				changed = " with changes"
			}
		}
		if commit != "" {
			commit = ", commit " + commit + changed
		}
	}
	return fmt.Sprintf("%s%s, %s %s/%s", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
