"""Times in PyTorch what tools/bench times: the same rows, at the same shapes and types, on the best device PyTorch has.

    bench -list >rows.json                              or any file that bench -json wrote
    python3 pytorch.py rows.json >pytorch.json          [--quick] [--seconds S]
    bench -peers pytorch.json                           the table, with how many times as fast as PyTorch each row is

A line of the output has "names" and "shape", of the rows of bench that do the same work together, "ns", and "peer": which of
PyTorch's ways it is. Times are medians: of the device's own clock on CUDA and ROCm, of the wall clock elsewhere. f32 products are
PyTorch's default, without TF32, unless the way says so; 16-bit training steps are autocast to bf16, with f32 weights and AdamW
fused. What matters most comes first, so that it is there when time runs out; what needs no compiler comes before what does.
"""

import argparse
import contextlib
import json
import math
import os
import re
import signal
import statistics
import time

import torch
import torch._functorch.config
import torch.nn.functional as F

from notebook import NotebookAdamW, notebook_clip, notebook_cross_entropy
from transformer import Transformer, angles, layer_norm, repeated, rms_norm, rope, swiglu

# The rows that come first.
FIRST = re.compile(r"GPT-2 124M train step bf16 \[8 |clip\+adamw f32|cross-entropy .* 50257\]|matmul nt .*\[4096 |attention.* bf16 \[8 1024 ")


class Bench:
    def __init__(self, quick, seconds):
        self.quick = quick
        self.deadline = time.monotonic() + seconds
        self.cuda = torch.cuda.is_available()  # of ROCm too
        self.mps = not self.cuda and getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available()
        self.device = torch.device("cuda" if self.cuda else "mps" if self.mps else "cpu")
        self.memory = torch.cuda.mem_get_info()[1] if self.cuda else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self.queue = []
        name = torch.cuda.get_device_name() if self.cuda else f"{self.device.type}, {torch.get_num_threads()} threads"
        backend = f", CUDA {torch.version.cuda}" if torch.version.cuda else f", ROCm {torch.version.hip}" if torch.version.hip else ""
        print(json.dumps({"device": name, "driver": f"PyTorch {torch.__version__}{backend}"}), flush=True)

    def normal(self, *shape, dtype=torch.float32, grad=False):
        return torch.randn(*shape, device=self.device).to(dtype).requires_grad_(grad)

    def ids(self, v, *shape):
        return torch.randint(v, shape, device=self.device)

    def ways(self, name):
        """A function as it is and, where it pays, compiled."""
        return [name, f"{name}, compiled"] if self.cuda and not self.quick else [name]

    def measure(self, peer, names, shape, prepare):
        """Has a row measured when its turn comes. prepare() then makes what is needed and returns the function to time."""
        rank = 0 if FIRST.search(f"{names[-1]} {shape}") else 3
        if "compiled" in peer:
            rank += 2 if peer == "autocast, compiled" else 1  # a whole model takes longest
        self.queue.append((rank, {"peer": peer, "names": names, "shape": shape}, prepare))

    def run(self):
        if self.cuda:
            self.warm_up()
        for _, row, prepare in sorted(self.queue, key=lambda job: job[0]):
            try:
                with time_limit(self.deadline - time.monotonic()):
                    times = self.times(prepare())
                row.update(ns=statistics.median(times), runs=len(times))
            except Exception as e:  # out of memory, no compiler, no time: the rows that follow may do
                row["error"] = f"{type(e).__name__}: {e}".splitlines()[0]
            print(json.dumps(row), flush=True)
            if self.cuda:
                with contextlib.suppress(Exception):
                    torch.cuda.empty_cache()

    def warm_up(self):
        """Gives a GPU that had nothing to do the time to reach its clock."""
        x, start = self.normal(4096, 4096), time.monotonic()
        while time.monotonic() - start < 0.7:
            x @ x
            torch.cuda.synchronize()

    def times(self, run):
        """Nanoseconds of several runs."""
        for _ in range(1 if self.quick else 3):
            times = self.several(run, 1)
        together = 8 if times[0] < 1e7 else 1
        times, start = [], time.monotonic()
        while len(times) < 3 or (not self.quick and len(times) < 50 and time.monotonic() - start < 0.25):
            times += self.several(run, together)
        return times

    def several(self, run, n):
        """Nanoseconds of n runs, one behind the other: a GPU need not wait for the processor to launch the next one."""
        if self.cuda:
            events = [torch.cuda.Event(enable_timing=True) for _ in range(n + 1)]
            torch.cuda.synchronize()
            events[0].record()
            for e in events[1:]:
                run()
                e.record()
            torch.cuda.synchronize()
            return [a.elapsed_time(b) * 1e6 for a, b in zip(events, events[1:])]
        times = []
        for _ in range(n):
            start = time.perf_counter()
            run()
            if self.mps:
                torch.mps.synchronize()
            times.append((time.perf_counter() - start) * 1e9)
        return times


@contextlib.contextmanager
def time_limit(seconds):
    """Raises TimeoutError where what is within takes longer, a compiler too: it is in Python, or waits there."""
    if seconds <= 0:
        raise TimeoutError("no time left")
    if math.isinf(seconds) or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_):
        raise TimeoutError("no time left")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def compiled(f):
    torch._functorch.config.donated_buffer = False  # a backward pass is run again and again
    return torch.compile(f)


# The functions below measure a row of bench: n are the numbers of its shape, dtype is the type in its name.
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def memory(b, name, shape, n, dtype):
    """The rows that pass over memory once or twice."""

    def prepare():
        x = b.normal(*n, dtype=dtype)
        y, row = torch.empty_like(x), b.normal(n[-1])
        ways = {
            "copy": lambda: y.copy_(x),
            "fastest copy": lambda: y.copy_(x),
            "fill": lambda: y.fill_(1.5),
            "add": lambda: torch.add(x, x, out=y),
            "mul by a row": lambda: torch.mul(x, row, out=y),
            "transpose": lambda: x.t().contiguous(),
            "row sum": lambda: x.sum(1),
            "scale": lambda: torch.mul(x, 0.5, out=y),
            "norm": lambda: torch.linalg.vector_norm(x, dtype=torch.float32),
            "silu": lambda: F.silu(x),
            "gelu": lambda: F.gelu(x),
            "dropout": lambda: F.dropout(x, 0.5),
            "softmax": lambda: F.softmax(x, -1),
        }
        return ways[re.split(r" (?:f32|f16|bf16)\b", name)[0]]

    b.measure("eager", [name], shape, prepare)


def cast(b, name, shape, n, _):
    def prepare():
        _, source, _, target = name.split()
        x, y = b.normal(*n, dtype=DTYPES[source]), b.normal(*n, dtype=DTYPES[target])
        return lambda: y.copy_(x)

    b.measure("copy_", [name], shape, prepare)


def embed(b, name, shape, n, _):
    def prepare():
        table, at = b.normal(n[1], n[2], grad=True), b.ids(n[1], n[0])
        if "_back" not in name:
            return lambda: F.embedding(at, table.detach())
        y = F.embedding(at, table)
        dy = torch.randn_like(y)
        return lambda: torch.autograd.grad(y, table, dy, retain_graph=True)

    b.measure("F.embedding", [name], shape, prepare)


def layers(b, name, shape, n, dtype):
    """Functions with a gradient: rows X and X_back."""
    word = name.split()[0].replace("_back", "")
    functions = {"rmsnorm": rms_norm, "layernorm": layer_norm, "swiglu": swiglu}
    functions["rope"] = lambda x, cos, sin: rope(x, cos, sin, "half" in name)

    def arguments():
        x = b.normal(*n, dtype=dtype, grad=True)
        if word == "rope":
            return [x, *angles(n[1], n[3], x)]
        more = [n] if word == "swiglu" else [n[-1:]] if word == "rmsnorm" else [n[-1:]] * 2
        return [x, *(b.normal(*m, dtype=dtype, grad=True) for m in more)]

    for peer in b.ways(word):

        def prepare(peer=peer):
            args, way = arguments(), functions[word]
            if "compiled" in peer:
                way = compiled(way)
            if "_back" not in name:
                plain = [x.detach() for x in args]
                return lambda: way(*plain)
            y = way(*args)
            dy = torch.randn_like(y)
            return lambda: torch.autograd.grad(y, args, dy, retain_graph=True)

        b.measure(peer, [name], shape, prepare)


def cross_entropy(b, name, shape, n, dtype):
    for peer in (*b.ways("F.cross_entropy"), "notebook"):

        def prepare(peer=peer):
            f = notebook_cross_entropy if peer == "notebook" else lambda x, y: F.cross_entropy(x, y)
            if "compiled" in peer:
                f = compiled(f)
            x, y = b.normal(*n, dtype=dtype, grad=True), b.ids(n[1], n[0])
            return lambda: torch.autograd.grad(f(x, y), x)

        b.measure(peer, [name], shape, prepare)


def optimizer(b, name, shape, n, dtype):
    if dtype != torch.float32:
        return  # no peer has 16-bit values with an f32 copy in one optimizer
    options = dict(lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    ways = {f"AdamW {way}": lambda p, way=way: torch.optim.AdamW(p, **{way: True}, **options) for way in ("foreach", "fused")}
    ways["notebook"] = lambda p: NotebookAdamW(p, **options)
    for peer, make in ways.items():

        def prepare(peer=peer, make=make):
            if b.memory < 24 * math.prod(n):  # values, gradients, two moments, and two more on the way
                raise MemoryError(f"{b.memory / 1e9:.3g} GB are too few")
            count = {"gpt2": 8, "llama": 64}.get(name.split()[-1], 1)  # tensors, as bench has them
            p = [torch.nn.Parameter(b.normal(math.prod(n) // count)) for _ in range(count)]
            for w in p:
                w.grad = b.normal(*w.shape)
            opt, limit = make(p), notebook_clip if peer == "notebook" else torch.nn.utils.clip_grad_norm_
            return (lambda: (limit(p, 1.0), opt.step())) if name.startswith("clip+") else opt.step

        b.measure(peer, [name], shape, prepare)


def product(b, name, shape, n, dtype):
    (m, columns, k), form = n, name.split()[1]
    for peer in ("matmul", "matmul TF32") if b.cuda and dtype == torch.float32 else ("matmul",):

        def prepare(peer=peer):
            tf32("TF32" in peer)
            x, y = b.normal(m, k, dtype=dtype), b.normal(k, columns, dtype=dtype)
            if form == "tn":
                x = x.t().contiguous().t()
            if form == "nt":
                y = y.t().contiguous().t()
            return lambda: x @ y

        b.measure(peer, [name], shape, prepare)


def tf32(allowed):
    """A setting of the process: every row of f32 products makes it."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")


def attention(b, name, shape, n, dtype):
    batch, t, h, kv, s = n
    word, suffix = name.split(" ", 1)
    if word == "attention_dq":
        return  # measured with attention_dkv

    def tensors():
        q, k, v = (b.normal(batch, heads, t, s, dtype=dtype) for heads in (h, kv, kv))
        return [x.contiguous().requires_grad_() for x in (q, repeated(k, h), repeated(v, h))]

    back = word == "attention_dkv"
    ways = {"scaled_dot_product_attention": contextlib.nullcontext}
    if b.cuda and dtype != torch.float32:
        from torch.nn.attention import SDPBackend, sdpa_kernel

        ways["cuDNN's attention"] = lambda: sdpa_kernel(SDPBackend.CUDNN_ATTENTION)
    for peer, way in ways.items():

        def prepare(way=way):
            tf32(False)
            qkv = tensors()
            if not back:
                qkv = [x.detach() for x in qkv]

            def forward():
                with way():
                    return F.scaled_dot_product_attention(*qkv, is_causal=True)

            if not back:
                return forward
            y = forward()
            dy = torch.randn_like(y)
            return lambda: torch.autograd.grad(y, qkv, dy, retain_graph=True)

        b.measure(peer, [f"attention_dq {suffix}", name] if back else [name], shape, prepare)


def step(b, row, n):
    """Forward, backward, clipping and AdamW. Compiled by parts are the blocks, once for all, and the head with its loss, which takes
    a fraction of the time that the whole model takes to compile."""
    c, half = row["structure"], row["dtype"] != "f32"
    ways = ["autocast"] if half else ["eager", "TF32"] if b.cuda else ["eager"]
    if b.cuda and not b.quick:
        ways += [f"{way}, compiled{parts}" for parts in (" by parts", "") for way in ways]
    for peer in ways:

        def prepare(peer=peer):
            tf32("TF32" in peer)
            with b.device:
                model = Transformer(c)
            opt = torch.optim.AdamW(model.parameters(), lr=1e-4, **({"fused": True} if b.cuda else {}))
            x, y, loss_of = b.ids(c["vocab"], *n), b.ids(c["vocab"], *n), model
            if peer.endswith("compiled"):
                loss_of = torch.compile(model)
            if peer.endswith("by parts"):
                for block in model.blocks:
                    block.compile()
                model.loss = torch.compile(model.loss)

            def run():
                opt.zero_grad(set_to_none=True)
                with torch.autocast(b.device.type, dtype=torch.bfloat16, enabled=half):
                    loss = loss_of(x, y)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()

            return run

        b.measure(peer, [row["name"]], row["shape"], prepare)


FUNCTIONS = {
    r"(copy|fastest copy|fill|add|mul by a row|transpose|row sum|scale|norm|silu|gelu|dropout|softmax)\b": memory,
    r"cast ": cast,
    r"embed": embed,
    r"(rmsnorm|layernorm|swiglu|rope)": layers,
    r"cross-entropy": cross_entropy,
    r"(clip\+)?adamw ": optimizer,
    r"matmul ": product,
    r"attention": attention,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", help="file of bench's rows, a JSON object a line")
    parser.add_argument("--quick", action="store_true", help="few runs")
    parser.add_argument("--seconds", type=float, default=math.inf, help="end after so many")
    args = parser.parse_args()
    torch.manual_seed(1)
    with open(args.rows) as f:
        rows = [json.loads(line) for line in f]
    b = Bench(args.quick, args.seconds)
    for row in (r for r in rows if "shape" in r):
        name, n = row["name"], [int(x) for x in re.findall(r"\d+", re.sub(r"^\w+(?=\[)", "", row["shape"]))]
        if "structure" in row:
            step(b, row, n)
        for pattern, f in FUNCTIONS.items():
            if "structure" not in row and re.match(pattern, name):
                types = re.findall(r"\b(f32|f16|bf16)\b", name)
                f(b, name, row["shape"], n, DTYPES[types[-1]] if types else torch.float32)
    b.run()
    os._exit(0)  # at once: what a compiler began that was stopped would be waited for


if __name__ == "__main__":
    main()
