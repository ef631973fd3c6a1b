package torch

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// storageTypes are the typed storages of PyTorch, with the safetensors name of their values.
var storageTypes = map[string]string{
	"FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16", "DoubleStorage": "F64",
	"LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
	"ByteStorage": "U8", "BoolStorage": "BOOL",
}

// maxPickleSize is above the description of any checkpoint, which takes some 200 bytes for each tensor.
const maxPickleSize = 16 << 20

// archive is the zip file that torch.save writes: NAME/data.pkl describes the objects, NAME/data/KEY holds the
// values of a storage.
type archive struct {
	data     io.ReaderAt
	size     int64
	close    func() error
	entries  map[string]*zip.File
	prefix   string // NAME/
	storages map[string]*storage
	stored   int64 // bytes in storages
}

type storage struct {
	dtype  string
	count  int64 // values
	offset int64 // in the file
	data   io.ReaderAt
}

// openArchive maps a file and finds its parts.
func openArchive(path string) (*archive, error) {
	data, err := input.Map(path)
	if err != nil {
		return nil, fmt.Errorf("torch: %w", err)
	}
	a, err := readArchive(data, data.Size(), path)
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	a.close = data.Close
	return a, nil
}

// readArchive finds the parts of a file of that size.
func readArchive(r io.ReaderAt, size int64, path string) (*archive, error) {
	a := &archive{data: r, size: size, entries: map[string]*zip.File{}, storages: map[string]*storage{}}
	if err := a.index(); err != nil {
		return nil, fmt.Errorf("torch: %s: %w", path, fault.Damaged(err))
	}
	return a, nil
}

func (a *archive) index() error {
	var start [13]byte
	if _, err := a.data.ReadAt(start[:], 0); err != nil && err != io.EOF {
		return err
	}
	// Files of before PyTorch 1.6 begin with a pickled magic number.
	if start[0] == 0x80 && string(start[2:13]) == "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50" {
		return fault.Unsupportedf("the format of before PyTorch 1.6 is not read: load and save it again with a newer PyTorch")
	}
	archive, err := zip.NewReader(a.data, a.size)
	if err != nil {
		head := make([]byte, min(512, a.size))
		if _, err := a.data.ReadAt(head, 0); err == nil && !bytes.HasPrefix(head, []byte("PK")) && input.Foreign(head) != "" {
			return fault.Unsupportedf("it is %s", input.Foreign(head))
		}
		return fmt.Errorf("not a file of torch.save, or truncated: %w", err)
	}
	for _, entry := range archive.File {
		if a.entries[entry.Name] != nil {
			return fmt.Errorf("zip entry %q is there twice", entry.Name)
		}
		a.entries[entry.Name] = entry
		if prefix, ok := strings.CutSuffix(entry.Name, "data.pkl"); ok && strings.Count(prefix, "/") == 1 && strings.HasSuffix(prefix, "/") {
			if a.prefix != "" {
				return fmt.Errorf("both %sdata.pkl and %s are there", a.prefix, entry.Name)
			}
			a.prefix = prefix
		}
	}
	if a.prefix == "" {
		return errors.New("not a file of torch.save: the zip file has no NAME/data.pkl")
	}
	if entry := a.entries[a.prefix+"byteorder"]; entry != nil {
		order, err := a.read(entry, 16)
		if err != nil {
			return err
		}
		if string(order) != "little" {
			return fault.Unsupportedf("byte order %q, want little", order)
		}
	}
	return nil
}

// locate checks that an entry is stored as it is and inside the file, and returns where.
func (a *archive) locate(entry *zip.File) (offset int64, err error) {
	if entry.Method != zip.Store || entry.CompressedSize64 != entry.UncompressedSize64 {
		return 0, fault.Unsupportedf("zip entry %q is compressed, which torch.save does not do", entry.Name)
	}
	if offset, err = entry.DataOffset(); err != nil {
		return 0, fmt.Errorf("zip entry %q: %w", entry.Name, err)
	}
	if size := entry.UncompressedSize64; offset < 0 || offset > a.size || size > uint64(a.size-offset) {
		return 0, fmt.Errorf("zip entry %q of %d bytes does not lie inside the file: truncated or damaged", entry.Name, size)
	}
	return offset, nil
}

// read returns a small entry, after its checksum was verified.
func (a *archive) read(entry *zip.File, limit uint64) ([]byte, error) {
	if _, err := a.locate(entry); err != nil {
		return nil, err
	}
	if entry.UncompressedSize64 > limit {
		return nil, fmt.Errorf("zip entry %q has %d bytes, more than %d", entry.Name, entry.UncompressedSize64, limit)
	}
	r, err := entry.Open()
	if err != nil {
		return nil, fmt.Errorf("zip entry %q: %w", entry.Name, err)
	}
	data := make([]byte, entry.UncompressedSize64)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("zip entry %q: %w", entry.Name, err)
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF { // the checksum is compared at the end
		return nil, fmt.Errorf("zip entry %q: damaged: %w", entry.Name, err)
	}
	return data, nil
}

// unpickle returns the object that was saved. The storages of its tensors are verified.
func (a *archive) unpickle() (any, error) {
	src, err := a.read(a.entries[a.prefix+"data.pkl"], maxPickleSize)
	if err != nil {
		return nil, err
	}
	r := pickleReader{src: src, persistent: a.storage, call: call}
	return r.read()
}

// storage returns the storage of a persistent id ("storage", type, key, device, number of values).
func (a *archive) storage(id any) (any, error) {
	tuple, _ := id.(pickleTuple)
	if len(tuple) != 5 || tuple[0] != "storage" {
		return nil, fmt.Errorf("a persistent id that is %s, not a storage", describePickle(id))
	}
	kind, _ := tuple[1].(pickleGlobal)
	key, isKey := tuple[2].(string)
	count, isCount := tuple[4].(int64)
	valueType, ok := storageTypes[kind.name]
	if !ok || kind.module != "torch" {
		return nil, fault.Unsupportedf("a storage of type %s, which is not supported", describePickle(tuple[1]))
	}
	if !isKey || !isCount {
		return nil, fmt.Errorf("a storage with the key %s and %s values", describePickle(tuple[2]), describePickle(tuple[4]))
	}
	s := a.storages[key]
	if s == nil {
		var err error
		if s, err = a.openStorage(key, valueType); err != nil {
			return nil, err
		}
		a.storages[key] = s
	}
	if s.dtype != valueType || s.count != count {
		return nil, fmt.Errorf("storage %q: %d values of %s are described, the file has %d of %s", key, count, valueType, s.count, s.dtype)
	}
	return s, nil
}

func (a *archive) openStorage(key, valueType string) (*storage, error) {
	name := a.prefix + "data/" + key
	entry := a.entries[name]
	if entry == nil {
		return nil, fmt.Errorf("zip entry %.80q of a tensor's values is missing", name)
	}
	offset, err := a.locate(entry)
	if err != nil {
		return nil, err
	}
	size := int64(entry.UncompressedSize64)
	if size%dtype.Size[valueType] != 0 {
		return nil, fmt.Errorf("zip entry %q: %d bytes are no whole number of values of %s", name, size, valueType)
	}
	// Entries that overlap could make a small file endless to verify.
	if a.stored += size; a.stored > a.size {
		return nil, errors.New("the storages together are larger than the file")
	}
	r, err := entry.Open()
	if err != nil {
		return nil, fmt.Errorf("zip entry %q: %w", name, err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, fmt.Errorf("zip entry %q: damaged: %w", name, err)
	}
	return &storage{valueType, size / dtype.Size[valueType], offset, a.data}, nil
}

// call stands for the calls that a state_dict may make.
func call(f pickleGlobal, args pickleTuple) (any, error) {
	switch f {
	case pickleGlobal{"collections", "OrderedDict"}:
		if len(args) == 0 {
			return new(pickleDict), nil
		}
	case pickleGlobal{"torch._utils", "_rebuild_tensor_v2"}:
		// storage, offset, size, stride, requires_grad, backward_hooks[, metadata]
		if len(args) == 6 || len(args) == 7 {
			return rebuildTensor(args[0], args[1], args[2], args[3])
		}
	case pickleGlobal{"torch._utils", "_rebuild_parameter"}:
		// data, requires_grad, backward_hooks
		if len(args) == 3 {
			if t, ok := args[0].(*Tensor); ok {
				return t, nil
			}
		}
	default:
		return nil, fault.Unsupportedf("asks for %s, which is not among the few that a checkpoint needs; nothing was executed", describePickle(f))
	}
	return nil, fmt.Errorf("%s with %d unexpected arguments", describePickle(f), len(args))
}
