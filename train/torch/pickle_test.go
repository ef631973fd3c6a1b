package torch

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/torchtest"
)

func TestSpec6PickleExecutesNothing(t *testing.T) {
	good := torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 4), "K\x00", "K\x04\x85", "K\x01\x85")
	model := func(v string) string { return torchtest.Payload("}("+torchtest.Text("w")+v+"u", torchtest.NoOptimizer) }
	optimizer := func(v string) string {
		return torchtest.Payload("}", torchtest.Text("optimizer_state")+v+torchtest.Text("iteration")+"K\x07")
	}
	group := func(fields string) string {
		return "}(" + torchtest.Text("state") + "}" + torchtest.Text("param_groups") + "](}(" + fields + "ueu"
	}
	const number = "G\x3f\xf0\x00\x00\x00\x00\x00\x00"
	hyper := torchtest.Text("lr") + number + torchtest.Text("eps") + number + torchtest.Text("weight_decay") + number + torchtest.Text("betas") + number + number + "\x86" + torchtest.Text("params") + "](K\x00e"
	state := func(v string) string {
		return "}(" + torchtest.Text("state") + "}(K\x00" + v + "u" + torchtest.Text("param_groups") + "](}(" + hyper + "ueu"
	}
	cases := []struct {
		pickle string
		want   string // of the error; empty: accepted
	}{
		{model(good), ""},
		{model("ctorch._utils\n_rebuild_parameter\n(" + good + "\x88NtR"), ""},
		{optimizer(group(hyper)), ""},
		{optimizer(state("}(" + torchtest.Text("step") + "K\x03" + torchtest.Text("exp_avg") + good + torchtest.Text("exp_avg_sq") + good + "u")), ""},
		{optimizer(state("}(" + torchtest.Text("step") + torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 4), "K\x03", ")", ")") + torchtest.Text("exp_avg") + good + torchtest.Text("exp_avg_sq") + good + "u")), ""},

		{"cos\nsystem\n(" + torchtest.Text("rm -rf /") + "tR.", `"os.system"`},
		{"cposix\nsystem\n" + torchtest.Text("id") + "\x85R.", `"posix.system"`},
		{"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", `"os.system"`},
		{model("cbuiltins\neval\n" + torchtest.Text("1+1") + "\x85R"), `"builtins.eval"`},
		{model("ctorch\nload\n" + torchtest.Text("x") + "\x85R"), `"torch.load"`},
		{model("ctorch._utils\n_rebuild_device_tensor_from_numpy\n)R"), "_rebuild_device_tensor_from_numpy"},
		{model("cnumpy.core.multiarray\nscalar\n)R"), "numpy.core.multiarray.scalar"},
		{"\x80\x02ios\nsystem\n.", "instruction 0x69"},      // INST
		{"\x80\x02cos\nsystem\n)\x81.", "instruction 0x81"}, // NEWOBJ
		{"\x80\x02(cos\nsystem\no.", "instruction 0x6f"},    // OBJ
		{"\x80\x02\x82\x01.", "instruction 0x82"},           // EXT1
		{"\x80\x02I1\n.", "instruction 0x49"},               // INT of protocol 0
		{model(torchtest.Text("not callable") + ")R"), "calls the string"},
		{model("ccollections\nOrderedDict\nNR"), "with None"},
		{model("ccollections\nOrderedDict\n" + torchtest.Text("x") + "\x85R"), "unexpected arguments"},
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

		{model(torchtest.Tensor("N", "K\x00", "K\x04\x85", "K\x01\x85")), "a tensor made of None"},
		{model(torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 4), "K\x01", "K\x04\x85", "K\x01\x85")), "from value 1 on lies outside"},
		{model(torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 4), "K\x00", "K\x05\x85", "K\x01\x85")), "lies outside"},
		{model(torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 4), "K\x00", "K\x03\x85", "K\x02\x85")), "outside its storage of 4"},
		{model(torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 4), "K\x00", "K\x04\x85", ")")), "stride a tuple of 0"},
		{model(torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 4), "J\xff\xff\xff\xff", "K\x01\x85", "K\x01\x85")), "offset -1"},
		{model(torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 4), "K\x00", "J\xff\xff\xff\xff\x85", "K\x01\x85")), "size a tuple of 1"},
		{model(torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 4), "K\x00", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85", "K\x00\x85")), "repeats values"},
		{model(torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 4), "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "K\x02\x85", "K\x04\x85")), "lies outside its storage"},
		{model(torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 5), "K\x00", "K\x04\x85", "K\x01\x85")), "5 values of F32 are described, the file has 4"},
		{model(torchtest.Tensor(torchtest.Storage("DoubleStorage", "0", 4), "K\x00", "K\x04\x85", "K\x01\x85")), "the file has 2 of F64"},
		{model(torchtest.Tensor(torchtest.Storage("FloatStorage", "1", 4), "K\x00", "K\x04\x85", "K\x01\x85")), `"x/data/1" of a tensor's values is missing`},
		{model(torchtest.Tensor(torchtest.Storage("FloatStorage", "odd", 1), "K\x00", "K\x01\x85", "K\x01\x85")), "no whole number of values"},
		{model(torchtest.Tensor(torchtest.Storage("ComplexFloatStorage", "0", 4), "K\x00", "K\x04\x85", "K\x01\x85")), "ComplexFloatStorage"},
		{model(good[:0] + "K\x05"), `"w" as 5`},
		{torchtest.Payload("}("+torchtest.Text("w")+good+torchtest.Text("w")+good+"u", torchtest.NoOptimizer), "one tensor for each name"},
		{torchtest.Payload("N", torchtest.NoOptimizer), "model_state of the file is None"},
		{"\x80\x02}.", "no model_state"},
		{"\x80\x02].", "holds a list"},
		{torchtest.Payload("}", torchtest.Text("optimizer_state")+"}"), "iteration is missing"},
		{torchtest.Payload("}", torchtest.Text("optimizer_state")+"}"+torchtest.Text("iteration")+"J\xff\xff\xff\xff"), "iteration is -1"},
		{torchtest.Payload("}", torchtest.Text("iteration")+"K\x00"), "no optimizer_state"},
		{optimizer("}" + torchtest.Text("state") + "}s"), "param_groups is None"},
		{optimizer(group(torchtest.Text("lr") + "N")), "group 0: lr is None"},
		{optimizer(group(strings.Replace(hyper, torchtest.Text("betas"), torchtest.Text("bbbbb"), 1))), "betas is None"},
		{optimizer(group(hyper + torchtest.Text("amsgrad") + "\x88")), "amsgrad is on"},
		{optimizer(group(hyper + torchtest.Text("maximize") + "\x88")), "maximize is on"},
		{optimizer(group(hyper + torchtest.Text("decoupled_weight_decay") + "\x89")), "not AdamW's"},
		{optimizer(group(hyper + torchtest.Text("params") + "](K\x00K\x00e")), "parameter 0 is not a number, or is in two"},
		{optimizer(state("N")), "parameter 0: the state is None"},
		{optimizer(state("}")), "parameter 0: step is missing"},
		{optimizer(state("}(" + torchtest.Text("step") + number[:1] + "\x3f\xe0\x00\x00\x00\x00\x00\x00" + "u")), "step is 0.5"},
		{optimizer(state("}(" + torchtest.Text("step") + "K\x03u")), "exp_avg is None"},
		{optimizer(strings.Replace(state("}"), "K\x00}", "K\x09}", 1)), "the parameter 9, which no group has"},
	}
	for _, c := range cases {
		file := torchtest.Zip(t, "x/data.pkl", c.pickle, "x/data/0", string(torchtest.Values(4)), "x/data/odd", "123456789")
		got, err := Open(check.File(t, "x.pt", file))
		if c.want != "" {
			check.Error(t, err, c.want, "x.pt")
		} else if err != nil {
			t.Errorf("%q: %v", c.pickle, err)
		}
		if err == nil {
			got.Close()
		}
	}
}

func TestSpec6TorchArchiveErrors(t *testing.T) {
	good := torchtest.Payload("}("+torchtest.Text("w")+torchtest.Tensor(torchtest.Storage("FloatStorage", "0", 4), "K\x00", "K\x04\x85", "K\x01\x85")+"u", torchtest.NoOptimizer)
	data := string(torchtest.Values(4))
	var compressed bytes.Buffer
	w := zip.NewWriter(&compressed)
	entry, _ := w.Create("x/data.pkl")
	entry.Write([]byte(good))
	w.Close()
	cases := []struct {
		file []byte
		want string
	}{
		{torchtest.Zip(t, "x/data.pkl", good, "x/data/0", data), ""},
		{torchtest.Zip(t, "x/data.pkl", good, "x/data/0", data, "x/byteorder", "little"), ""},
		{torchtest.Zip(t, "x/data.pkl", good, "x/data/0", data, "x/byteorder", "big"), `byte order "big"`},
		{torchtest.Zip(t, "x/data.pkl", good, "x/data/0", data, "x/byteorder", strings.Repeat("x", 100)), "more than 16"},
		{torchtest.Zip(t, "x/data.pkl", good, "x/data/0", data, "y/data.pkl", good), "both x/data.pkl and y/data.pkl"},
		{torchtest.Zip(t, "x/data.pkl", good, "x/data/0", data, "x/data/0", data), `"x/data/0" is there twice`},
		{torchtest.Zip(t, "data.pkl", good, "data/0", data), "no NAME/data.pkl"},
		{torchtest.Zip(t, "a/b/data.pkl", good), "no NAME/data.pkl"},
		{torchtest.Zip(t, "x/data.pkl", good), "missing"},
		{compressed.Bytes(), "compressed"},
	}
	for _, c := range cases {
		got, err := Open(check.File(t, "x.pt", c.file))
		if c.want != "" {
			check.Error(t, err, c.want, "x.pt")
		} else if err != nil {
			t.Error(err)
		}
		if err == nil {
			got.Close()
		}
	}
}
