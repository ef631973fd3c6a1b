package doctorcmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/internal/disk"
	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

// machine is what checks see of the system; tests make others.
type machine struct {
	files   fs.FS // the root of the file system
	env     func(string) string
	environ []string
	open    func(path string) error // for reading and writing
}

func thisMachine() *machine {
	return &machine{files: os.DirFS("/"), env: os.Getenv, environ: os.Environ(), open: func(path string) error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			f.Close()
		}
		return err
	}}
}

func (m *machine) has(pattern string) bool { return len(m.list(pattern)) > 0 }

// list returns what matches a pattern, with the leading slash.
func (m *machine) list(pattern string) []string {
	found, _ := fs.Glob(m.files, strings.TrimPrefix(pattern, "/"))
	for i := range found {
		found[i] = "/" + found[i]
	}
	return found
}

// read returns the text of a file, "" where there is none.
func (m *machine) read(path string) string {
	data, _ := fs.ReadFile(m.files, strings.TrimPrefix(path, "/"))
	return strings.TrimSpace(string(data))
}

func (m *machine) container() bool {
	return m.has("/.dockerenv") || m.has("/run/.containerenv") || m.env("container") != ""
}

func (m *machine) wsl() bool {
	return strings.Contains(strings.ToLower(m.read("/proc/sys/kernel/osrelease")), "microsoft")
}

// checkProgram tells what program this is.
func checkProgram() Check {
	version := command.Version()
	return good("program", "lemnos %s", version).with("version", version).with("go", runtime.Version()).with("os", runtime.GOOS).with("arch", runtime.GOARCH)
}

// checkSystem tells what the program runs on.
func (m *machine) checkSystem() Check {
	const name = "system"
	var list []string
	if release := osRelease(m.read("/etc/os-release"), "PRETTY_NAME"); release != "" {
		list = append(list, release)
	}
	if kernel := m.read("/proc/sys/kernel/osrelease"); kernel != "" {
		list = append(list, "kernel "+kernel)
	}
	cores := runtime.GOMAXPROCS(0)
	list = append(list, fmt.Sprintf("%d of %s used", cores, count(runtime.NumCPU(), "core")))
	if m.container() {
		list = append(list, "in a container")
	}
	if m.wsl() {
		list = append(list, "in WSL")
	}
	return good(name, "%s", strings.Join(list, ", ")).with("cores", runtime.NumCPU()).with("cores_used", cores).
		with("container", m.container()).with("wsl", m.wsl())
}

// variables are the beginnings of the names of variables that change what this program, the loader or a driver does.
var variables = []string{"LEMNOS_", "VK_", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "CUDA_VISIBLE_DEVICES", "NVK_", "NOUVEAU_",
	"RADV_", "AMD_VULKAN_ICD", "ANV_", "INTEL_", "LP_", "LIBGL_ALWAYS_SOFTWARE", "MESA_", "GALLIUM_", "DRI_PRIME", "MVK_", "LD_PRELOAD",
	"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "XDG_CONFIG_DIRS", "XDG_DATA_DIRS", "XDG_CACHE_HOME", "GOMAXPROCS"}

// driverFiles are the variables that name manifests of drivers: the loader then looks for no others.
var driverFiles = []string{"VK_DRIVER_FILES", "VK_ICD_FILENAMES"}

// checkEnvironment tells which variables matter, and whether the manifests that they name are there.
func (m *machine) checkEnvironment() Check {
	const name = "environment"
	set := map[string]string{}
	var list []string
	for _, entry := range m.environ {
		key, value, _ := strings.Cut(entry, "=")
		if slices.ContainsFunc(variables, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			set[key] = value
			list = append(list, key+"="+value)
		}
	}
	slices.Sort(list)
	for _, key := range driverFiles {
		if value, there := set[key]; there && strings.Trim(value, string(filepath.ListSeparator)) == "" {
			return warn(name, "unset "+key, "%s names no file: the loader then finds no driver", key).with("variables", set)
		}
		for _, path := range filepath.SplitList(set[key]) {
			if _, err := os.Stat(path); path != "" && err != nil {
				return warn(name, "mend or unset "+key, "%s names %s: %v", key, path, cause(err)).with("variables", set)
			}
		}
	}
	if cores := set["LEMNOS_MATRIX_CORES"]; !slices.Contains([]string{"", "on", "off"}, cores) {
		return warn(name, "set it to on or off, or unset it", "LEMNOS_MATRIX_CORES is %q, which is as if it was not set", cores).with("variables", set)
	}
	if len(list) == 0 {
		return good(name, "no variable changes what is done").with("variables", set)
	}
	return good(name, "%s", strings.Join(list, " ")).with("variables", set)
}

// cause is the error without the path that it repeats.
func cause(err error) error {
	if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// wanted bytes for the checkpoints of a run: GPT-2's of 124 million parameters with both moments in f32, and three of them.
const roomWanted = 3 * 3 * 4 * 124_000_000

// checkFolder tells whether files can be written where checkpoints go, and how many.
func checkFolder(name, folder string) Check {
	path, err := filepath.Abs(folder)
	if err != nil {
		return fail(name, "", "%v", err)
	}
	if err := disk.Writable(path); err != nil {
		return fail(name, "make it writable, or name another folder with -dir, and to train with -ckpt_dir", "%v", err).with("folder", path)
	}
	free, err := disk.Free(path)
	if err != nil {
		return warn(name, "", "%s: how much is free the system does not say: %v", path, err).with("folder", path)
	}
	c := good(name, "%s: %s free", path, command.Size(free))
	if free < roomWanted {
		c = warn(name, "make room, or name another folder with -dir, and to train with -ckpt_dir",
			"%s: %s free; three checkpoints of a GPT-2 are %s", path, command.Size(free), command.Size(roomWanted))
	}
	return c.with("folder", path).with("free_bytes", free)
}
