package train

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// zipFile returns a zip file with entries that are stored as they are: name, contents, name, contents, ….
func zipFile(t testing.TB, parts ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		entry, err := w.CreateHeader(&zip.FileHeader{Name: parts[i], Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entry.Write([]byte(parts[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Parts of pickles of protocol 2.
func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func storage(kind, key string, count int) string {
	return "(" + text("storage") + "ctorch\n" + kind + "\n" + text(key) + text("cpu") + fmt.Sprintf("K%c", count) + "tQ"
}

// tensor returns the call that rebuilds a tensor; offset, shape and stride are given as pickles.
func tensor(storage, offset, shape, stride string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + shape + stride + "\x89ccollections\nOrderedDict\n)RtR"
}

// payload returns a whole checkpoint with these pickles as model_state and as the rest.
func payload(model, rest string) string {
	return "\x80\x02}(" + text("model_state") + model + rest + "u."
}

const noOptimizer = "X\x0f\x00\x00\x00optimizer_state}X\x09\x00\x00\x00iterationK\x07"

func TestSpec6PickleExecutesNothing(t *testing.T) {
	good := tensor(storage("FloatStorage", "0", 4), "K\x00", "K\x04\x85", "K\x01\x85")
	model := func(v string) string { return payload("}("+text("w")+v+"u", noOptimizer) }
	optimizer := func(v string) string {
		return payload("}", text("optimizer_state")+v+text("iteration")+"K\x07")
	}
	group := func(fields string) string {
		return "}(" + text("state") + "}" + text("param_groups") + "](}(" + fields + "ueu"
	}
	const number = "G\x3f\xf0\x00\x00\x00\x00\x00\x00"
	hyper := text("lr") + number + text("eps") + number + text("weight_decay") + number + text("betas") + number + number + "\x86" + text("params") + "](K\x00e"
	state := func(v string) string {
		return "}(" + text("state") + "}(K\x00" + v + "u" + text("param_groups") + "](}(" + hyper + "ueu"
	}
	cases := []struct {
		pickle string
		want   string // of the error; empty: accepted
	}{
		{model(good), ""},
		{model("ctorch._utils\n_rebuild_parameter\n(" + good + "\x88NtR"), ""},
		{optimizer(group(hyper)), ""},
		{optimizer(state("}(" + text("step") + "K\x03" + text("exp_avg") + good + text("exp_avg_sq") + good + "u")), ""},
		{optimizer(state("}(" + text("step") + tensor(storage("FloatStorage", "0", 4), "K\x03", ")", ")") + text("exp_avg") + good + text("exp_avg_sq") + good + "u")), ""},

		{"cos\nsystem\n(" + text("rm -rf /") + "tR.", `"os.system"`},
		{"cposix\nsystem\n" + text("id") + "\x85R.", `"posix.system"`},
		{"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", `"os.system"`},
		{model("cbuiltins\neval\n" + text("1+1") + "\x85R"), `"builtins.eval"`},
		{model("ctorch\nload\n" + text("x") + "\x85R"), `"torch.load"`},
		{model("ctorch._utils\n_rebuild_device_tensor_from_numpy\n)R"), "_rebuild_device_tensor_from_numpy"},
		{model("cnumpy.core.multiarray\nscalar\n)R"), "numpy.core.multiarray.scalar"},
		{"\x80\x02ios\nsystem\n.", "instruction 0x69"},      // INST
		{"\x80\x02cos\nsystem\n)\x81.", "instruction 0x81"}, // NEWOBJ
		{"\x80\x02(cos\nsystem\no.", "instruction 0x6f"},    // OBJ
		{"\x80\x02\x82\x01.", "instruction 0x82"},           // EXT1
		{"\x80\x02I1\n.", "instruction 0x49"},               // INT of protocol 0
		{model(text("not callable") + ")R"), "calls the string"},
		{model("ccollections\nOrderedDict\nNR"), "with None"},
		{model("ccollections\nOrderedDict\n" + text("x") + "\x85R"), "unexpected arguments"},
		{model("]}b"), "sets attributes of a list"},
		{model(good + "}b"), "sets attributes of a tensor"},

		{"\x80\x06N.", "protocol 6"},
		{"\x80\x02", "truncated"},
		{"", "truncated"},
		{"N", "truncated"},
		{"NN.", "stops with 2 values"},
		{"(N.", "stops with 1 values"},
		{".", "stops with 0 values"},
		{"0.", "no value"},
		{"N(0.", "no value"},
		{"t.", "no mark"},
		{"Na.", "no value"},
		{"NNa.", "appends to None"},
		{"}Nu.", "no mark"},
		{"}(Nu.", "sets 1 keys"},
		{"}(NNu.", "key that is None"},
		{"}())u.", "key that is a tuple"},
		{"h\x00.", "memo 0 of 0"},
		{"Nq\x01.", "memo 1 after 0"},
		{"Nr\xff\xff\xff\xff.", "memo 4294967295"},
		{"X\xff\xff\xff\xffabc.", "4294967295 bytes: truncated"},
		{"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.", "18446744073709551615 bytes: truncated"},
		{"\x95\x00\x00\x00\x00\x00\x00\x01\x00N.", "a frame of 281474976710656 bytes"},
		{"\x8c\x01\xff.", "not UTF-8"},
		{"\x8a\x09123456789.", "an integer of 9 bytes"},
		{"\x8b\x00\x00\x00\x7f.", "instruction 0x8b"},
		{"cos", "without an end"},
		{"c" + strings.Repeat("a", 300) + "\nb\n.", "without an end"},
		{strings.Repeat("(", 2000), "nested deeper than 1024"},
		{strings.Repeat("N", 1<<17), "more than 65536 values"},
		{"NQ.", "persistent id that is None"},

		{model(tensor("N", "K\x00", "K\x04\x85", "K\x01\x85")), "a tensor made of None"},
		{model(tensor(storage("FloatStorage", "0", 4), "K\x01", "K\x04\x85", "K\x01\x85")), "from value 1 on lies outside"},
		{model(tensor(storage("FloatStorage", "0", 4), "K\x00", "K\x05\x85", "K\x01\x85")), "lies outside"},
		{model(tensor(storage("FloatStorage", "0", 4), "K\x00", "K\x03\x85", "K\x02\x85")), "outside its storage of 4"},
		{model(tensor(storage("FloatStorage", "0", 4), "K\x00", "K\x04\x85", ")")), "stride a tuple of 0"},
		{model(tensor(storage("FloatStorage", "0", 4), "J\xff\xff\xff\xff", "K\x01\x85", "K\x01\x85")), "offset -1"},
		{model(tensor(storage("FloatStorage", "0", 4), "K\x00", "J\xff\xff\xff\xff\x85", "K\x01\x85")), "size a tuple of 1"},
		{model(tensor(storage("FloatStorage", "0", 4), "K\x00", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85", "K\x00\x85")), "repeats values"},
		{model(tensor(storage("FloatStorage", "0", 4), "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "K\x02\x85", "K\x04\x85")), "lies outside its storage"},
		{model(tensor(storage("FloatStorage", "0", 5), "K\x00", "K\x04\x85", "K\x01\x85")), "5 values of F32 are described, the file has 4"},
		{model(tensor(storage("DoubleStorage", "0", 4), "K\x00", "K\x04\x85", "K\x01\x85")), "the file has 2 of F64"},
		{model(tensor(storage("FloatStorage", "1", 4), "K\x00", "K\x04\x85", "K\x01\x85")), `"x/data/1" of a tensor's values is missing`},
		{model(tensor(storage("FloatStorage", "odd", 1), "K\x00", "K\x01\x85", "K\x01\x85")), "no whole number of values"},
		{model(tensor(storage("ComplexFloatStorage", "0", 4), "K\x00", "K\x04\x85", "K\x01\x85")), "ComplexFloatStorage"},
		{model(good[:0] + "K\x05"), `"w" as 5`},
		{payload("}("+text("w")+good+text("w")+good+"u", noOptimizer), "one tensor for each name"},
		{payload("N", noOptimizer), "model_state of the file is None"},
		{"\x80\x02}.", "no model_state"},
		{"\x80\x02].", "holds a list"},
		{payload("}", text("optimizer_state")+"}"), "iteration is missing"},
		{payload("}", text("optimizer_state")+"}"+text("iteration")+"J\xff\xff\xff\xff"), "iteration is -1"},
		{payload("}", text("iteration")+"K\x00"), "no optimizer_state"},
		{optimizer("}" + text("state") + "}s"), "param_groups is None"},
		{optimizer(group(text("lr") + "N")), "group 0: lr is None"},
		{optimizer(group(strings.Replace(hyper, text("betas"), text("bbbbb"), 1))), "betas is None"},
		{optimizer(group(hyper + text("amsgrad") + "\x88")), "amsgrad is on"},
		{optimizer(group(hyper + text("maximize") + "\x88")), "maximize is on"},
		{optimizer(group(hyper + text("decoupled_weight_decay") + "\x89")), "not AdamW's"},
		{optimizer(group(hyper + text("params") + "](K\x00K\x00e")), "parameter 0 is not a number, or is in two"},
		{optimizer(state("N")), "parameter 0: the state is None"},
		{optimizer(state("}")), "parameter 0: step is missing"},
		{optimizer(state("}(" + text("step") + number[:1] + "\x3f\xe0\x00\x00\x00\x00\x00\x00" + "u")), "step is 0.5"},
		{optimizer(state("}(" + text("step") + "K\x03u")), "exp_avg is None"},
		{optimizer(strings.Replace(state("}"), "K\x00}", "K\x09}", 1)), "the parameter 9, which no group has"},
	}
	for _, c := range cases {
		file := zipFile(t, "x/data.pkl", c.pickle, "x/data/0", string(values(4)), "x/data/odd", "123456789")
		got, err := OpenTorch(writeFile(t, "x.pt", file))
		if c.want != "" {
			wantError(t, err, c.want, "x.pt")
		} else if err != nil {
			t.Errorf("%q: %v", c.pickle, err)
		}
		if err == nil {
			got.Close()
		}
	}
}

// values returns the floats 0, 1, …, n-1.
func values(n int) []byte {
	var b []byte
	for i := range n {
		b, _ = binary.Append(b, binary.LittleEndian, float32(i))
	}
	return b
}

func TestSpec6TorchArchiveErrors(t *testing.T) {
	good := payload("}("+text("w")+tensor(storage("FloatStorage", "0", 4), "K\x00", "K\x04\x85", "K\x01\x85")+"u", noOptimizer)
	data := string(values(4))
	var compressed bytes.Buffer
	w := zip.NewWriter(&compressed)
	entry, _ := w.Create("x/data.pkl")
	entry.Write([]byte(good))
	w.Close()
	cases := []struct {
		file []byte
		want string
	}{
		{zipFile(t, "x/data.pkl", good, "x/data/0", data), ""},
		{zipFile(t, "x/data.pkl", good, "x/data/0", data, "x/byteorder", "little"), ""},
		{zipFile(t, "x/data.pkl", good, "x/data/0", data, "x/byteorder", "big"), `byte order "big"`},
		{zipFile(t, "x/data.pkl", good, "x/data/0", data, "x/byteorder", strings.Repeat("x", 100)), "more than 16"},
		{zipFile(t, "x/data.pkl", good, "x/data/0", data, "y/data.pkl", good), "both x/data.pkl and y/data.pkl"},
		{zipFile(t, "x/data.pkl", good, "x/data/0", data, "x/data/0", data), `"x/data/0" is there twice`},
		{zipFile(t, "data.pkl", good, "data/0", data), "no NAME/data.pkl"},
		{zipFile(t, "a/b/data.pkl", good), "no NAME/data.pkl"},
		{zipFile(t, "x/data.pkl", good), "missing"},
		{compressed.Bytes(), "compressed"},
	}
	for _, c := range cases {
		got, err := OpenTorch(writeFile(t, "x.pt", c.file))
		if c.want != "" {
			wantError(t, err, c.want, "x.pt")
		} else if err != nil {
			t.Error(err)
		}
		if err == nil {
			got.Close()
		}
	}
}
