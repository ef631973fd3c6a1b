"""Times in PyTorch what tools/bench times: the same rows, at the same shapes and types, on the best device PyTorch has.

    bench -list >rows.json                              or any file that bench -json wrote
    python3 pytorch.py rows.json >pytorch.json          [--quick] [--seconds S]
    bench -peers pytorch.json                           the table, with how many times as fast as PyTorch each row is

A line of the output has "names" and "shape", of the rows of bench that do the same work together, "ns", and "peer": which of
PyTorch's ways it is. Times are medians: of the device's own clock on CUDA and ROCm, of the wall clock elsewhere.
"""

import argparse
import json
import math
import os
import re
import statistics
import time

import torch
import torch.nn.functional as F


class Bench:
    def __init__(self, quick, seconds):
        self.quick = quick
        self.deadline = time.monotonic() + seconds
        self.cuda = torch.cuda.is_available()  # of ROCm too
        self.mps = not self.cuda and getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available()
        self.device = torch.device("cuda" if self.cuda else "mps" if self.mps else "cpu")
        self.memory = torch.cuda.mem_get_info()[1] if self.cuda else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        name = torch.cuda.get_device_name() if self.cuda else f"{self.device.type}, {torch.get_num_threads()} threads"
        backend = f", CUDA {torch.version.cuda}" if torch.version.cuda else f", ROCm {torch.version.hip}" if torch.version.hip else ""
        print(json.dumps({"device": name, "driver": f"PyTorch {torch.__version__}{backend}"}), flush=True)

    def normal(self, *shape, dtype=torch.float32, grad=False):
        return torch.randn(*shape, device=self.device).to(dtype).requires_grad_(grad)

    def ids(self, v, *shape):
        return torch.randint(v, shape, device=self.device)

    def compiled(self, name, f):
        """f and, where it pays, f compiled: ways by their names."""
        return {name: f, f"{name}, compiled": torch.compile(f)} if self.cuda and not self.quick else {name: f}

    def once(self, run):
        """Runs once; returns nanoseconds."""
        if self.cuda:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            run()
            end.record()
            torch.cuda.synchronize()
            return start.elapsed_time(end) * 1e6
        start = time.perf_counter()
        run()
        if self.mps:
            torch.mps.synchronize()
        return (time.perf_counter() - start) * 1e9

    def measure(self, peer, names, shape, prepare):
        """prepare() returns the function to time. What fails, or has no time left, is a row that says so."""
        row = {"peer": peer, "names": names, "shape": shape}
        try:
            if time.monotonic() > self.deadline:
                raise TimeoutError("no time left")
            run = prepare()
            for _ in range(1 if self.quick else 3):
                self.once(run)
            times, start = [], time.monotonic()
            while len(times) < 3 or (not self.quick and len(times) < 51 and time.monotonic() - start < 0.5):
                times.append(self.once(run))
            row.update(ns=statistics.median(times), runs=len(times))
        except Exception as e:  # out of memory, no compiler, no time: the rows that follow may do
            row["error"] = f"{type(e).__name__}: {e}".splitlines()[0]
        print(json.dumps(row), flush=True)
        if self.cuda:
            torch.cuda.empty_cache()


# The functions of the training notebook that Lemnos replaces.


def notebook_cross_entropy(logits, targets):
    logits = logits.to(torch.float32)
    peak, _ = torch.max(logits, dim=-1, keepdim=True)
    logsumexp = torch.log(torch.sum(torch.exp(logits - peak), dim=-1)) + peak.squeeze(-1)
    true_logits = torch.take_along_dim(logits, targets.unsqueeze(-1), dim=-1).squeeze(-1)
    return -(true_logits - logsumexp).mean()


class NotebookAdamW(torch.optim.Optimizer):
    def __init__(self, params, lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    def step(self):
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    self.update(p, group)

    def update(self, p, group):
        state, (beta1, beta2) = self.state[p], group["betas"]
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        m, v = state["exp_avg"], state["exp_avg_sq"]
        state["step"] += 1
        m.mul_(beta1).add_(p.grad, alpha=1 - beta1)
        v.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
        size = group["lr"] * math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
        p.addcdiv_(m, v.sqrt().add_(group["eps"]), value=-size)
        if group["weight_decay"]:
            p.add_(p, alpha=-group["lr"] * group["weight_decay"])


def notebook_clip(params, max_norm, eps=1e-6):
    with torch.no_grad():
        norm = math.sqrt(sum(float(torch.sum(p.grad.to(torch.float32) ** 2)) for p in params))
        if norm > max_norm:
            for p in params:
                p.grad.mul_(max_norm / (norm + eps))
    return norm


# The functions below measure a row of bench: n are the numbers of its shape, dtype is the type in its name.
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def memory(b, name, shape, n, dtype):
    """The rows that pass over memory once or twice."""
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
    b.measure("eager", [name], shape, lambda: ways[re.sub(r" (f32|f16|bf16)$", "", name)])


def cast(b, name, shape, n, _):
    _, source, _, target = name.split()
    x, y = b.normal(*n, dtype=DTYPES[source]), b.normal(*n, dtype=DTYPES[target])
    b.measure("copy_", [name], shape, lambda: lambda: y.copy_(x))


def embed(b, name, shape, n, _):
    table, at = b.normal(n[1], n[2], grad=True), b.ids(n[1], n[0])
    y = F.embedding(at, table)
    dy = torch.randn_like(y)
    forward, backward = lambda: F.embedding(at, table.detach()), lambda: torch.autograd.grad(y, table, dy, retain_graph=True)
    b.measure("F.embedding", [name], shape, lambda: backward if "_back" in name else forward)


def rms_norm(x, weight):
    return F.rms_norm(x, x.shape[-1:], weight, 1e-5)  # of PyTorch 2.4


def layer_norm(x, weight):
    return F.layer_norm(x, x.shape[-1:], weight, torch.zeros_like(weight), 1e-5)


def swiglu(gate, up):
    return F.silu(gate) * up


def angles(t, size, x):
    a = torch.arange(t, device=x.device)[:, None] / 1e4 ** (torch.arange(0, size, 2, device=x.device) / size)
    return a.cos()[:, None].to(x.dtype), a.sin()[:, None].to(x.dtype)


def rope(x, cos, sin, half):
    a, c = x.chunk(2, -1) if half else (x[..., 0::2], x[..., 1::2])
    turned = a * cos - c * sin, c * cos + a * sin
    return torch.cat(turned, -1) if half else torch.stack(turned, -1).flatten(-2)


def layers(b, name, shape, n, dtype):
    """Functions with a gradient: rows X and X_back."""
    word = name.split()[0].replace("_back", "")
    functions = {"rmsnorm": rms_norm, "layernorm": layer_norm, "swiglu": swiglu}
    args = [b.normal(*n, dtype=dtype, grad=True)]
    if word == "rope":
        cos, sin = angles(n[1], n[3], args[0])
        functions["rope"] = lambda x: rope(x, cos, sin, "half" in name)
    else:
        args.append(b.normal(*(n if word == "swiglu" else n[-1:]), dtype=dtype, grad=True))
    for peer, way in b.compiled(word, functions[word]).items():

        def prepare():
            if "_back" not in name:
                plain = [x.detach() for x in args]
                return lambda: way(*plain)
            y = way(*args)
            dy = torch.randn_like(y)
            return lambda: torch.autograd.grad(y, args, dy, retain_graph=True)

        b.measure(peer, [name], shape, prepare)


def cross_entropy(b, name, shape, n, dtype):
    for peer, f in {**b.compiled("F.cross_entropy", F.cross_entropy), "notebook": notebook_cross_entropy}.items():

        def prepare():
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

        def prepare():
            if b.memory < 24 * math.prod(n):  # values, gradients, two moments, and two more on the way
                raise MemoryError(f"{b.memory / 1e9:.3g} GB are too few")
            p = [torch.nn.Parameter(b.normal(*n))]
            p[0].grad = b.normal(*n)
            opt, limit = make(p), notebook_clip if peer == "notebook" else torch.nn.utils.clip_grad_norm_
            return (lambda: (limit(p, 1.0), opt.step())) if name.startswith("clip+") else opt.step

        b.measure(peer, [name], shape, prepare)


def product(b, name, shape, n, dtype):
    (m, columns, k), form = n, name.split()[1]
    for peer in ("matmul", "matmul TF32") if b.cuda and dtype == torch.float32 else ("matmul",):

        def prepare():
            torch.backends.cuda.matmul.allow_tf32 = "TF32" in peer
            x, y = b.normal(m, k, dtype=dtype), b.normal(k, columns, dtype=dtype)
            if form == "tn":
                x = x.t().contiguous().t()
            if form == "nt":
                y = y.t().contiguous().t()
            return lambda: x @ y

        b.measure(peer, [name], shape, prepare)
    torch.backends.cuda.matmul.allow_tf32 = False


def repeated(x, heads):
    """Keys or values (batch, heads, ...) with each head as often as queries share it."""
    return x.repeat_interleave(heads // x.shape[1], 1)


def attention(b, name, shape, n, dtype):
    batch, t, h, kv, s = n
    word, suffix = name.split(" ", 1)
    if word == "attention_dq":
        return  # measured with attention_dkv

    def tensors():
        q, k, v = (b.normal(batch, heads, t, s, dtype=dtype) for heads in (h, kv, kv))
        return [x.contiguous().requires_grad_() for x in (q, repeated(k, h), repeated(v, h))]

    def forward():
        qkv = [x.detach() for x in tensors()]
        return lambda: F.scaled_dot_product_attention(*qkv, is_causal=True)

    def backward():
        qkv = tensors()
        y = F.scaled_dot_product_attention(*qkv, is_causal=True)
        dy = torch.randn_like(y)
        return lambda: torch.autograd.grad(y, qkv, dy, retain_graph=True)

    back = word == "attention_dkv"
    b.measure("scaled_dot_product_attention", [f"attention_dq {suffix}", name] if back else [name], shape, backward if back else forward)


class Block(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, d, bias = c, c["width"], c["bias"]
        self.kv = c["kv_heads"] or c["heads"]
        self.size = c["head_size"] or d // c["heads"]
        self.norms = torch.nn.ParameterList(torch.nn.Parameter(torch.ones(d)) for _ in range(2))
        self.qkv = torch.nn.Linear(d, (c["heads"] + 2 * self.kv) * self.size, bias=bias)
        self.out = torch.nn.Linear(c["heads"] * self.size, d, bias=bias)
        gates = 2 if c["activation"] == "swiglu" else 1
        self.up, self.down = torch.nn.Linear(d, gates * c["ffn"], bias=bias), torch.nn.Linear(c["ffn"], d, bias=bias)

    def forward(self, x, turn):
        c, (b, t, _), norm = self.c, x.shape, NORMS[self.c["norm"]]
        heads = self.qkv(norm(x, self.norms[0])).view(b, t, -1, self.size)
        q, k, v = heads.split((c["heads"], self.kv, self.kv), 2)
        if c["positions"] != "learned":
            q, k = (rope(y, *turn, c["positions"] == "rope_half") for y in (q, k))
        q, k, v = q.transpose(1, 2), repeated(k.transpose(1, 2), c["heads"]), repeated(v.transpose(1, 2), c["heads"])
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, -1))
        h = self.up(norm(x, self.norms[1]))
        if c["activation"] == "swiglu":
            return x + self.down(swiglu(*h.chunk(2, -1)))
        return x + self.down(F.silu(h) if c["activation"] == "silu" else F.gelu(h, approximate="tanh" if "tanh" in c["activation"] else "none"))


NORMS = {"rmsnorm": rms_norm, "layernorm": layer_norm}


class Transformer(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.tokens = torch.nn.Embedding(c["vocab"], c["width"])
        self.positions = torch.nn.Embedding(c["max_context"], c["width"]) if c["positions"] == "learned" else None
        self.blocks = torch.nn.ModuleList(Block(c) for _ in range(c["layers"]))
        self.norm = torch.nn.Parameter(torch.ones(c["width"]))
        self.head = torch.nn.Linear(c["width"], c["vocab"], bias=False)
        if c["tied"]:
            self.head.weight = self.tokens.weight
        torch.nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, x, y):
        h = self.tokens(x)
        if self.positions is not None:
            h = h + self.positions.weight[: x.shape[1]]
        turn = angles(x.shape[1], self.blocks[0].size, h)
        for block in self.blocks:
            h = block(h, turn)
        logits = self.head(NORMS[self.c["norm"]](h, self.norm))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), y.view(-1))


def step(b, row, n):
    c, half = row["structure"], row["dtype"] != "f32"
    ways = ["eager"] + (["compiled"] if b.cuda and not b.quick else [])
    if b.cuda and not half:
        ways += ["TF32"] + ([] if b.quick else ["TF32, compiled"])
    for peer in ways:

        def prepare():
            torch.backends.cuda.matmul.allow_tf32 = "TF32" in peer  # a setting of the process
            model = Transformer(c).to(b.device)
            opt = torch.optim.AdamW(model.parameters(), lr=1e-4, **({"fused": True} if b.cuda else {}))
            x, y, loss_of = b.ids(c["vocab"], *n), b.ids(c["vocab"], *n), torch.compile(model) if "compiled" in peer else model

            def run():
                opt.zero_grad(set_to_none=True)
                with torch.autocast(b.device.type, dtype=torch.bfloat16, enabled=half):
                    loss = loss_of(x, y)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()

            return run

        b.measure(peer, [row["name"]], row["shape"], prepare)
    torch.backends.cuda.matmul.allow_tf32 = False


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
    parser.add_argument("--seconds", type=float, default=math.inf, help="start nothing after so many")
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


if __name__ == "__main__":
    main()
