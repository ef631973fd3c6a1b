package input

import (
	"bytes"
	"strings"
)

// IsPointer reports that what begins with head is what a repository of git-lfs has in
// place of a large file.
func IsPointer(head []byte) bool {
	return bytes.HasPrefix(head, []byte("version https://git-lfs.github.com/spec/"))
}

// Foreign says what a file is that begins with head, and what to do about it, where
// that is plain and it is none that a trainer reads: what a download leaves that did
// not do as it should, and archives. Else it returns "".
func Foreign(head []byte) string {
	if IsPointer(head) {
		return "a git-lfs pointer: the file itself was not downloaded; run git lfs pull in its repository"
	}
	text := strings.ToLower(string(bytes.TrimLeft(head[:min(len(head), 512)], "\xef\xbb\xbf \t\r\n")))
	if strings.HasPrefix(text, "<!doctype html") || strings.HasPrefix(text, "<html") {
		return "a web page, perhaps the message of a download that failed: download the file again"
	}
	for magic, what := range map[string]string{
		"\x1f\x8b\x08":             "compressed with gzip: unpack it",
		"\x28\xb5\x2f\xfd":         "compressed with zstd: unpack it",
		"\xfd7zXZ\x00":             "compressed with xz: unpack it",
		"BZh91AY&SY":               "compressed with bzip2: unpack it",
		"GGUF":                     "a GGUF file, which is not read: take the model as safetensors",
		"\x89HDF\r\n":              "an HDF5 file, which is not read: take the model as safetensors",
		"\x80\x02\x8a\nl\xfc\x9cF": "a torch.save from before PyTorch 1.6",
		"PK\x03\x04":               "a zip archive, of torch.save perhaps",
	} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return what
		}
	}
	return ""
}
