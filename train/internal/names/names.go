// Package names finds the parameters of a model among the tensors of a file.
package names

import (
	"slices"
	"strings"
)

// Ignored reports tensors that files may have beside the parameters: masks, and
// what positions are turned by, which older versions stored.
func Ignored(name string, shape []int) bool {
	if len(shape) == 1 && !strings.HasSuffix(name, ".inv_freq") { // a bias indeed
		return false
	}
	for _, end := range []string{".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq", ".rotary_emb.cos_cached", ".rotary_emb.sin_cached"} {
		if strings.HasSuffix("."+name, end) {
			return true
		}
	}
	return false
}

// Unwrap returns the name of a parameter that find knows, from the name in a file
// of a model that was wrapped when it was saved: by torch.compile, by data-parallel
// training, or as the field of a larger module.
func Unwrap(name string, find func(name string) (string, bool)) (string, bool) {
	parts := slices.DeleteFunc(strings.Split(name, "."), func(part string) bool {
		return part == "_orig_mod" || part == "_fsdp_wrapped_module" || part == "_checkpoint_wrapped_module"
	})
	for {
		if found, ok := find(strings.Join(parts, ".")); ok {
			return found, true
		}
		if len(parts) < 2 || !slices.Contains([]string{"module", "model", "transformer"}, parts[0]) {
			return name, false
		}
		parts = parts[1:]
	}
}
