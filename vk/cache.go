package vk

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// The pipeline cache keeps what the driver made of the kernels, so that the next process starts
// quickly. It is a convenience: whatever goes wrong with the file, the kernels are compiled anew.
//
// A file is cacheMagic, the SHA-256 of the rest, and the driver's data. There is one per device,
// driver version and pipelineCacheUUID. The checksum matters: drivers trust the data.

const cacheMagic = "lemnos pipelines 1\n"

// cacheFolder is where the options, the environment or the system want the file; empty: nowhere.
func cacheFolder(o *Options) string {
	dir := o.CacheDir
	if dir == "" {
		dir = os.Getenv("LEMNOS_CACHE")
	}
	if dir == "off" {
		return ""
	}
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(user, "lemnos")
	}
	return dir
}

// openCache creates the VkPipelineCache, with the file's data where there is a good file.
func (d *Device) openCache(o *Options) error {
	var data []byte
	if dir := cacheFolder(o); dir != "" {
		d.cacheFile = filepath.Join(dir, "pipelines-"+d.physical.pipelineCacheID)
		data = readCache(d.cacheFile)
	}
	if len(data) > 0 {
		if d.createCache(data) == vulkan.Success {
			d.cacheRead = uint(len(data))
			return nil
		}
		// The driver does not like the data; it must do without.
	}
	return d.check(d.createCache(nil), "vkCreatePipelineCache", "")
}

// CachePath is where a file of what was found out about the device and its driver
// belongs, beside the pipeline cache; empty where that is off.
func (d *Device) CachePath(name string) string {
	if d.cacheFile == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(d.cacheFile), name+"-"+d.physical.pipelineCacheID)
}

// WriteCache keeps v as JSON in the file that CachePath names, in one piece, as other processes may read it or write their own;
// it does nothing where that is off.
func (d *Device) WriteCache(name string, v any) error {
	path := d.CachePath(name)
	if path == "" {
		return nil
	}
	data, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return fmt.Errorf("vk: %s: %w", name, err)
	}
	return writeWhole(path, append(data, '\n'))
}

// ReadCache reads into v what WriteCache kept, and reports whether that is there and whole. If not, v may hold a part of it.
func (d *Device) ReadCache(name string, v any) bool {
	data, err := os.ReadFile(d.CachePath(name))
	return err == nil && json.Unmarshal(data, v) == nil
}

func (d *Device) createCache(data []byte) vulkan.Result {
	info := vulkan.PipelineCacheCreateInfo{SType: vulkan.StructureTypePipelineCacheCreateInfo}
	if len(data) > 0 {
		memory := cArray[byte](len(data))
		defer freeC(unsafe.Pointer(&memory[0]))
		copy(memory, data)
		info.InitialDataSize = uint(len(data))
		info.PInitialData = unsafe.Pointer(&memory[0])
	}
	var cache vulkan.PipelineCache
	result := vulkan.CreatePipelineCache(d.handle, &info, nil, &cache)
	info.Free()
	if result == vulkan.Success {
		d.cache = cache
	}
	return result
}

// readCache returns the driver's data, nil when there is no undamaged file.
func readCache(name string) []byte {
	file, err := os.ReadFile(name)
	if err != nil || len(file) < len(cacheMagic)+sha256.Size || string(file[:len(cacheMagic)]) != cacheMagic {
		return nil
	}
	sum, data := file[len(cacheMagic):len(cacheMagic)+sha256.Size], file[len(cacheMagic)+sha256.Size:]
	if want := sha256.Sum256(data); !bytes.Equal(sum, want[:]) {
		return nil
	}
	return data
}

// saveCache writes the file when the driver's data have grown since it was read: they may be tens of MB. Another process that
// writes the same file at the same time loses or wins as a whole.
func (d *Device) saveCache() {
	if d.cacheFile == "" || d.cache == nil || len(d.kernels) == 0 {
		return
	}
	var size uint
	if vulkan.GetPipelineCacheData(d.handle, d.cache, &size, nil) != vulkan.Success || size == 0 {
		return
	}
	data := make([]byte, size)
	if vulkan.GetPipelineCacheData(d.handle, d.cache, &size, unsafe.Pointer(&data[0])) != vulkan.Success || size == d.cacheRead {
		return
	}
	writeCache(d.cacheFile, data[:size])
}

func writeCache(name string, data []byte) error {
	sum := sha256.Sum256(data)
	return writeWhole(name, append(append([]byte(cacheMagic), sum[:]...), data...))
}

// writeWhole makes the file's folder, and the file appear there as a whole.
func writeWhole(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".tmp*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
