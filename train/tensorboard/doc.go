// Package tensorboard encodes what TensorBoard shows: scalars, texts and histograms, as
// event files have them.
//
// An event file is a sequence of records: the length of the data in 8 bytes, a checksum
// of these, the data, a checksum of it; numbers are little-endian, checksums CRC-32C
// masked as TFRecord does. The data are protocol buffers of the message Event of
// TensorFlow. The name of a file contains "tfevents"; those of one folder are read in the
// order of their names, and a last record that is torn is waited for, or passed over once
// there is a later file.
package tensorboard
