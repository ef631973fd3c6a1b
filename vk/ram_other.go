//go:build !linux

package vk

// machineMemory is how many bytes of memory the machine has; 0 when unknown.
func machineMemory() uint64 { return 0 }
