package tensorboard

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of fields, from tensorflow/core/util/event.proto and
// tensorflow/core/framework/{summary,tensor}.proto.
const (
	eventWallTime    = 1
	eventStep        = 2
	eventFileVersion = 3
	eventSummary     = 5
	eventSessionLog  = 7

	sessionStatus = 1
	sessionStart  = 1

	summaryValue = 1

	valueTag         = 1
	valueSimpleValue = 2
	valueHistogram   = 5
	valueTensor      = 8
	valueMetadata    = 9

	metadataPlugin = 1
	pluginName     = 1

	tensorDType  = 1
	tensorShape  = 2
	tensorString = 8
	dtypeString  = 7
)

// fileVersion says that starts are marked, see [Start].
const fileVersion = "brain.Event:2"

// Version returns the record that every event file begins with.
func Version(wall time.Time) []byte {
	return record(protowire.AppendString(tagged(event(wall, 0), eventFileVersion, protowire.BytesType), fileVersion))
}

// Start returns the record of a process that goes on with a run: readers drop what
// records before it have of this step and of later ones.
func Start(wall time.Time, step int64) []byte {
	log := protowire.AppendVarint(tagged(nil, sessionStatus, protowire.VarintType), sessionStart)
	return record(message(event(wall, step), eventSessionLog, log))
}

// Event returns the record of what was measured after a step.
func Event(wall time.Time, step int64, values ...Value) []byte {
	var summary []byte
	for _, v := range values {
		summary = message(summary, summaryValue, v.encoded)
	}
	return record(message(event(wall, step), eventSummary, summary))
}

// Value is one thing that an event tells, under a tag. Tags with a common part before a
// slash are shown together.
type Value struct{ encoded []byte }

// Scalar is a point of a curve. It is stored as a float32; one that is not finite leaves
// a mark where it is.
func Scalar(tag string, v float64) Value {
	b := tagged(newValue(tag), valueSimpleValue, protowire.Fixed32Type)
	return Value{protowire.AppendFixed32(b, math.Float32bits(float32(v)))}
}

// Text is a text in Markdown.
func Text(tag, markdown string) Value { return bytesOf(tag, "text", []byte(markdown)) }

// bytesOf is a value of a plugin that reads a string tensor without dimensions.
func bytesOf(tag, plugin string, data []byte) Value {
	t := protowire.AppendVarint(tagged(nil, tensorDType, protowire.VarintType), dtypeString)
	t = message(t, tensorShape, nil)
	t = message(t, tensorString, data)
	named := protowire.AppendString(tagged(nil, pluginName, protowire.BytesType), plugin)
	return Value{message(message(newValue(tag), valueTensor, t), valueMetadata, message(nil, metadataPlugin, named))}
}

// Chart is a chart of several curves.
type Chart struct {
	Title string
	Tags  []string // regular expressions
}

// Numbers of fields, from tensorboard/plugins/custom_scalar/layout.proto.
const (
	layoutCategory = 2
	categoryTitle  = 1
	categoryChart  = 2
	chartTitle     = 1
	chartMultiline = 2
	multilineTag   = 1
)

// Layout puts curves of several tags into one chart, in the dashboard of custom scalars.
func Layout(category string, charts ...Chart) Value {
	c := protowire.AppendString(tagged(nil, categoryTitle, protowire.BytesType), category)
	for _, chart := range charts {
		var lines []byte
		for _, tag := range chart.Tags {
			lines = protowire.AppendString(tagged(lines, multilineTag, protowire.BytesType), tag)
		}
		title := protowire.AppendString(tagged(nil, chartTitle, protowire.BytesType), chart.Title)
		c = message(c, categoryChart, message(title, chartMultiline, lines))
	}
	return bytesOf("custom_scalars__config__", "custom_scalars", message(nil, layoutCategory, c))
}

func newValue(tag string) []byte {
	return protowire.AppendString(tagged(nil, valueTag, protowire.BytesType), tag)
}

// event begins an Event.
func event(wall time.Time, step int64) []byte {
	b := tagged(nil, eventWallTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(float64(wall.UnixNano())/1e9))
	if step == 0 { // a field that is 0 is left out
		return b
	}
	return protowire.AppendVarint(tagged(b, eventStep, protowire.VarintType), uint64(step))
}

func tagged(b []byte, field protowire.Number, kind protowire.Type) []byte {
	return protowire.AppendTag(b, field, kind)
}

// message appends a field of bytes, which a message in a message is too.
func message(b []byte, field protowire.Number, data []byte) []byte {
	return protowire.AppendBytes(tagged(b, field, protowire.BytesType), data)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record frames data.
func record(data []byte) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, len(data)+16), uint64(len(data)))
	b = binary.LittleEndian.AppendUint32(b, checksum(b))
	b = append(b, data...)
	return binary.LittleEndian.AppendUint32(b, checksum(data))
}

// checksum is a CRC-32C, masked so that one of data with checksums in them is a good one too.
func checksum(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}
