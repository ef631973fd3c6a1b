// Package validation runs a test process under the Khronos validation layer and collects what it says.
// It does not import vk, so that vk's own internal tests can use it too; other packages want vktest.
package validation

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

var state struct {
	sync.Mutex
	dir   string // holds the layer's settings and log; empty: not validating
	taken int    // bytes of the log that Take has returned
}

// Wanted says whether $LEMNOS_VALIDATE asks for the layer.
func Wanted() bool { return os.Getenv("LEMNOS_VALIDATE") == "1" }

// Start points the Vulkan loader and the layer, through the environment, to the layer's settings and a log
// of this process. It must come before the process's first Vulkan call.
func Start() error {
	state.Lock()
	defer state.Unlock()
	dir, err := os.MkdirTemp("", "lemnos-validation")
	if err != nil {
		return err
	}
	settings := strings.Join([]string{
		"khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG",
		"khronos_validation.report_flags = error,warn",
		"khronos_validation.log_filename = " + filepath.Join(dir, "log"),
		// Layers of 2025 and later call this setting deprecated, which is not a fault of what is tested; older ones know no
		// other. The newer also need the second to look at what shaders access.
		"khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT",
		"khronos_validation.syncval_shader_accesses_heuristic = true",
		"khronos_validation.message_id_filter = VALIDATION-SETTINGS",
		// By default a message is reported ten times; the count may matter to who reads it.
		"khronos_validation.enable_message_limit = false",
	}, "\n") + "\n"
	file := filepath.Join(dir, "vk_layer_settings.txt")
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		return err
	}
	os.Setenv("VK_LAYER_SETTINGS_PATH", file)
	os.Setenv("VK_INSTANCE_LAYERS", "VK_LAYER_KHRONOS_validation")
	state.dir, state.taken = dir, 0
	return nil
}

// Active says whether the layer is at work: it creates its log together with the Vulkan instance.
func Active() bool {
	state.Lock()
	defer state.Unlock()
	if state.dir == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(state.dir, "log"))
	return err == nil
}

// Take returns what the layer has said since the last Take. A test that provokes a message on purpose
// takes it; what nobody took fails the package at Stop.
func Take() string {
	state.Lock()
	defer state.Unlock()
	if state.dir == "" {
		return ""
	}
	log, err := os.ReadFile(filepath.Join(state.dir, "log"))
	if err != nil || len(log) < state.taken {
		return ""
	}
	said := string(log[state.taken:])
	state.taken = len(log)
	return strings.TrimSpace(said)
}

// Stop removes the log. Its error is what the layer said and nobody took.
func Stop() error {
	said := Take()
	state.Lock()
	defer state.Unlock()
	os.RemoveAll(state.dir)
	state.dir = ""
	if said != "" {
		return fmt.Errorf("the validation layer says:\n%s", said)
	}
	return nil
}
