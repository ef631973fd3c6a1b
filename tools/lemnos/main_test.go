package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/vk"
)

// asTool makes the test binary the program, so that tests can start it as a process.
const asTool = "LEMNOS_TEST_AS_LEMNOS"

func TestMain(m *testing.M) {
	if os.Getenv(asTool) != "" {
		main()
	}
	// What ignores a signal passes that on to the processes it starts: a shell's job in the background.
	if signal.Ignored(os.Interrupt) {
		signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	}
	os.Exit(m.Run())
}

// result is what the program said, and the status that it ended with.
type result struct {
	out, log string
	status   int
}

func lemnos(args ...string) result {
	var out, log strings.Builder
	status := to(&out, &log, args...)
	return result{out.String(), log.String(), status}
}

func to(out, log io.Writer, args ...string) (status int) {
	return command.Watched(run, &command.Process{Called: "lemnos", Whole: true, Args: args, Stdin: strings.NewReader(""), Stdout: out, Stderr: log})
}

// full is a disk without room, closed a pipe that nobody reads.
type full struct{}
type closed struct{}

func (full) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}
}
func (closed) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
}

// What can't be written is a failure of any command, which says so; that the reader has gone, as head does, is none.
func TestOutputThatCanNotBeWritten(t *testing.T) {
	dir := t.TempDir()
	metrics := filepath.Join(dir, "run", "metrics.jsonl")
	if err := errors.Join(os.Mkdir(filepath.Dir(metrics), 0o777), os.WriteFile(metrics, []byte(`{"step":1,"loss":2}`+"\n"), 0o666)); err != nil {
		t.Fatal(err)
	}
	commands := []string{
		"", "help", "help train", "-help", "-version", "completion bash", "completion zsh", "completion fish", "completion powershell", "train -print-config",
		"train -preset finetune -help", "compare -o= " + dir, "compare -o " + dir + "/c.svg " + dir, "bench -results ../bench/results",
	}
	for _, name := range names() {
		commands = append(commands, name+" -help")
	}
	if devices, _ := vk.Devices(); len(devices) > 0 {
		commands = append(commands, "devices", "devices -json", "doctor -check vulkan", "doctor -check vulkan -json", "bench -list", "bench -counts -run tiny",
			"train -plan -model bigram -data ../../LICENSE -context_len 16 -ckpt_dir "+dir)
	}
	for _, c := range commands {
		var log strings.Builder
		if status := to(full{}, &log, strings.Fields(c)...); status != command.Failed || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "lemnos: the output is not whole: write /dev/stdout: ") {
			t.Errorf("%s: status %d, and it says %q", c, status, log.String())
		}
		log.Reset()
		if status := to(closed{}, &log, strings.Fields(c)...); status != 0 || log.Len() > 0 {
			t.Errorf("%s: without a reader: status %d, and it says %q", c, status, log.String())
		}
	}
}

// Every command has a help with examples, three ways to ask for it, and the statuses 0, 1 and 2.
func TestCommands(t *testing.T) {
	overview := lemnos()
	if overview.status != 0 || overview != lemnos("help") || overview != lemnos("-help") || !strings.Contains(overview.out, command.Statuses) {
		t.Errorf("without arguments: %+v", overview)
	}
	for _, name := range names() {
		help := lemnos(name, "-help")
		if help.status != 0 || help.log != "" || help != lemnos("help", name) || help != lemnos(name, "--help") || help != lemnos(name, "-h") {
			t.Errorf("%s: help differs, or fails: %+v", name, help)
		}
		for _, want := range []string{"usage: lemnos " + name + " ", "\nexamples:\n", "lemnos " + name + " ", command.Statuses} {
			if !strings.Contains(help.out, want) {
				t.Errorf("%s: the help has no %q:\n%s", name, want, help.out)
			}
		}
		if !regexp.MustCompile(`(?m)^  ` + name + ` +[A-Z]`).MatchString(overview.out) {
			t.Errorf("%s is not in the overview", name)
		}
		for _, bad := range [][]string{{"-nothing"}, {"-no-such-flag=1"}} {
			wrong := lemnos(append([]string{name}, bad...)...)
			if wrong.status != command.Usage || wrong.out != "" || strings.Count(wrong.log, "\n") != 1 || !strings.HasPrefix(wrong.log, name+": there is no flag -no") {
				t.Errorf("%s %s: %+v", name, bad, wrong)
			}
		}
	}
	gone, empty := filepath.Join(t.TempDir(), "none"), t.TempDir()
	for _, args := range [][]string{
		{"train", "-data", gone, "-ckpt_dir", gone, "-device", gone}, {"sample", gone}, {"tokenize", gone}, {"export", gone, gone},
		{"bench", "-results", gone}, {"bench", "-device", gone},
		{"train", "-from", empty}, {"train", "-config", empty, "-help"}, {"bench", "-counts", "-run", "no such row"},
	} {
		if failed := lemnos(args...); failed.status != command.Failed || failed.log == "" {
			t.Errorf("%q: %+v", args, failed)
		}
	}
}

func TestMistypedCommands(t *testing.T) {
	for args, want := range map[string]string{
		"trian":          "there is no command trian, but train;",
		"help smaple":    "there is no command smaple, but sample;",
		"TRAIN":          "there is no command TRAIN, but train;",
		"version":        "there is no command version, but -version;",
		"frobnicate":     "there is no command frobnicate;",
		"-verison":       "there is no flag -verison, but -version;",
		"completion csh": `"csh" is no shell`,

		"help train extra":     `help: unexpected argument "extra"`,
		"help help extra":      `help: unexpected argument "extra"`,
		"help nonsense":        "there is no command nonsense;",
		"completion":           "completion: name a shell: bash, zsh, fish, powershell",
		"completion bash more": `completion: unexpected argument "more"`,
		"-- train":             "lemnos: train is a command, which comes first",
		"-version more":        "there is no command more",
		"train more":           `train: unexpected argument "more"`,
		"sample run more":      `sample: unexpected argument "more"`,
		"export run":           "export: name a checkpoint or the folder of a run, and a new folder",
		"export run new more":  `export: unexpected argument "more"`,
		"devices more":         `devices: unexpected argument "more"`,
		"bench more":           `bench: unexpected argument "more"`,
		"doctor more":          `doctor: unexpected argument "more"`,
	} {
		if got := lemnos(strings.Fields(args)...); got.status != command.Usage || !strings.Contains(got.log, want) || strings.Count(got.log, "\n") != 1 || got.out != "" {
			t.Errorf("%s: %+v, want %s", args, got, want)
		}
	}
}

// What no machine and no file can make right is a mistake in the arguments.
func TestImpossibleValues(t *testing.T) {
	for _, args := range []string{
		"train -layers 0", "train -layers many", "train -preset gpt9", "train -sample -1", "train -lr_min 1", "train -preset finetune", "sample -n 0 x", "sample -dtype f64 x",
		"sample -temperature -1 x", "sample", "export x", "bench -size 0", "bench -run (", "bench x", "tokenize", "devices x", "doctor -check x", "compare", "completion",
		"train -http nonsense", "train -http 127.0.0.1:99999", "train -config a -config b", "train -preset gpt9 -help", "tokenize -", "tokenize -val_fraction 1 x", "tokenize -val_fraction NaN x",
		"train -tokenizer nonsense", "sample -tokenizer nonsense x", "tokenize -tokenizer nonsense x", "bench -limit -1s", "bench -size 9999999999999",
	} {
		if got := lemnos(strings.Fields(args)...); got.status != command.Usage || strings.Count(got.log, "\n") != 1 {
			t.Errorf("%s: %+v", args, got)
		}
	}
	for _, args := range [][]string{{"train", ""}, {"sample", ""}, {"tokenize", "a", ""}, {"export", "run", ""}, {"compare", ""}, {"help", ""}} { // of a variable that is not set
		if got := lemnos(args...); got.status != command.Usage || strings.Count(got.log, "\n") != 1 {
			t.Errorf("%q: %+v", args, got)
		}
	}
	file := filepath.Join(t.TempDir(), "run.toml")
	if err := os.WriteFile(file, []byte("layrs = 2"), 0o666); err != nil {
		t.Fatal(err)
	}
	if got := lemnos("train", "-config", file); got.status != command.Failed || !strings.Contains(got.log, "but there is layers") {
		t.Errorf("a file: %+v", got)
	}
}

func TestVersion(t *testing.T) {
	for _, flag := range []string{"-version", "--version"} {
		if got := lemnos(flag); got.status != 0 || !regexp.MustCompile(`^lemnos \S+.*, go1\.\S+ \w+/\w+\n$`).MatchString(got.out) {
			t.Errorf("%s: %+v", flag, got)
		}
	}
}

// What cobra's scripts ask the program.
func TestCompletionsAsked(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"tr"}, "train\tTrain a model on a text or token file, and go on where it stopped\n:4\n"},
		{[]string{"help", "sam"}, "sample\n:4\n"},
		{[]string{"completion", ""}, "bash\nzsh\nfish\npowershell\n:4\n"},
		{[]string{"-v"}, "-version\tprint the version of the program\n:4\n"},
		{[]string{"train", "-weight"}, "-weight_decay\tweight decay; decoupled but for sgd\n:4\n"},
		{[]string{"train", "-preset", "gpt"}, "gpt2-124m\n:4\n"},
		{[]string{"train", "-tied", "-schedule=w"}, "wsd\n:4\n"},
		{[]string{"train", "-optimizer", ""}, "adamw\nlion\nmuon\nsgd\n:4\n"},
		{[]string{"train", "-data", ""}, ":0\n"},
		{[]string{"train", "-layers", ""}, ":4\n"},
		{[]string{"train", ""}, ":4\n"},
		{[]string{"sample", "-dtype", "b"}, "bf16\n:4\n"},
		{[]string{"sample", "-dtype", "bf16", "check"}, ":0\n"},
		{[]string{"nothing", ""}, ":4\n"},
	} {
		if got := lemnos(append([]string{"__complete"}, c.args...)...); got.out != c.want {
			t.Errorf("%q: %q, want %q", c.args, got.out, c.want)
		}
	}
}

// A command on the path, as people call it.
func TestPrograms(t *testing.T) {
	p := exec.Command(os.Args[0], "tokenize")
	p.Env = append(os.Environ(), asTool+"=1")
	out, err := p.CombinedOutput()
	if p.ProcessState.ExitCode() != command.Usage || string(out) != "tokenize: no text file given; -help lists the flags\n" {
		t.Errorf("%v: %q", err, out)
	}
}
