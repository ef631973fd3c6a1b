"""Times in PyTorch what tools/bench times, at the same shapes: a JSON object a line, on the best device PyTorch has.

    python3 pytorch.py [--size MiB] [--quick] [--seconds S] >pytorch.json
    python3 pytorch.py --compare bench.json... pytorch.json     the table of both

A row has what bench's has ("name", "shape", "ns") and a "peer": which of PyTorch's ways it is. "names" are the rows of bench
that do the same work together. Times are medians: of the device's own clock on CUDA, of the wall clock elsewhere.
"""

import argparse
import json
import math
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:  # --compare needs none
    torch = None


class Bench:
    def __init__(self, quick, seconds):
        self.quick = quick
        self.deadline = time.monotonic() + seconds
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.cuda else "cpu")
        name = torch.cuda.get_device_name() if self.cuda else "cpu"
        print(json.dumps({"device": name, "driver": f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}"}), flush=True)

    def normal(self, *shape, dtype=None):
        return torch.randn(*shape, device=self.device).to(dtype or torch.float32)

    def ids(self, n, v):
        return torch.randint(v, (n,), device=self.device)

    def once(self, run):
        """Runs once; returns nanoseconds."""
        if not self.cuda:
            start = time.perf_counter()
            run()
            return (time.perf_counter() - start) * 1e9
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) * 1e6

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
            while len(times) < 3 or (not self.quick and len(times) < 51 and time.monotonic() - start < 1):
                times.append(self.once(run))
            row |= {"ns": statistics.median(times), "runs": len(times)}
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


class NotebookAdamW(torch.optim.Optimizer if torch else object):
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
            state |= {"step": 0, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
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


DTYPES = ("f32", "bf16")


def dtype_of(name):
    return {"f32": torch.float32, "bf16": torch.bfloat16}[name]


def cross_entropy(b, size):
    ways = {"F.cross_entropy": F.cross_entropy, "notebook": notebook_cross_entropy}
    if not b.quick and b.cuda:
        ways["F.cross_entropy, compiled"] = torch.compile(F.cross_entropy)
    for name in DTYPES:
        for v in (1000, 50257):
            dtype = dtype_of(name)
            row = v * dtype.itemsize
            n = max(1, (size + row - 1) // row)
            for peer, f in ways.items():

                def prepare():
                    x, y = b.normal(n, v, dtype=dtype).requires_grad_(), b.ids(n, v)
                    return lambda: torch.autograd.grad(f(x, y), x)

                b.measure(peer, [f"cross-entropy {name}"], f"[{n} {v}]", prepare)


def optimizer(b, size):
    n = size // 4
    shape = f"f32[{n}]"

    def parameter():
        p = torch.nn.Parameter(b.normal(n))
        p.grad = b.normal(n)
        return p

    options = dict(lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    ways = {
        "AdamW fused": lambda p: torch.optim.AdamW(p, fused=True, **options),
        "AdamW foreach": lambda p: torch.optim.AdamW(p, foreach=True, **options),
        "notebook": lambda p: NotebookAdamW(p, **options),
    }
    for peer, make in ways.items():
        b.measure(peer, ["adamw f32"], shape, lambda: make([parameter()]).step)

        def clip_and_step():
            p = [parameter()]
            opt, clip = make(p), notebook_clip if peer == "notebook" else torch.nn.utils.clip_grad_norm_
            return lambda: (clip(p, 1.0), opt.step())

        clip = "" if peer == "notebook" else "clip_grad_norm_, "
        b.measure(clip + peer, ["clip+adamw f32"], shape, clip_and_step)


def copies(b, size):
    def prepare():
        x, y = b.normal(size // 4), b.normal(size // 4)
        return lambda: y.copy_(x)

    b.measure("copy_", ["copy"], f"f32[{size // 4}]", prepare)


def products(b, _):
    large = [(8192, 3072, 768)] if b.cuda else []
    for m, n, k in [(64, 64, 64)] if b.quick else [(512, 512, 512), (2048, 576, 1536)] + large:
        for form in ("nn", "nt", "tn"):
            for peer in ("f32", "TF32", "bf16") if b.cuda else ("f32", "bf16"):
                name = "bf16" if peer == "bf16" else "f32"

                def prepare():
                    torch.backends.cuda.matmul.allow_tf32 = peer == "TF32"
                    x, y = b.normal(m, k, dtype=dtype_of(name)), b.normal(k, n, dtype=dtype_of(name))
                    if form == "tn":
                        x = x.t().contiguous().t()
                    if form == "nt":
                        y = y.t().contiguous().t()
                    return lambda: x @ y

                b.measure(f"matmul {peer}", [f"matmul {form} {name}"], f"[{m} {n} {k}]", prepare)
    torch.backends.cuda.matmul.allow_tf32 = False


def attention(b, _):
    large = [(8, 1024, 12, 64)] if b.cuda else []
    for shape in [(1, 40, 4, 16)] if b.quick else [(8, 256, 6, 64)] + large:
        for name in DTYPES:
            attention_of(b, name, *shape)


def attention_of(b, name, batch, t, h, s):
    shape = f"[{batch} {t} {h}/{h} {s}]"

    def tensors():
        return [b.normal(batch, h, t, s, dtype=dtype_of(name)).requires_grad_() for _ in range(3)]

    def forward():
        q, k, v = tensors()
        return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def backward():
        qkv = tensors()
        y = F.scaled_dot_product_attention(*qkv, is_causal=True)
        dy = torch.randn_like(y)
        return lambda: torch.autograd.grad(y, qkv, dy, retain_graph=True)

    b.measure("scaled_dot_product_attention", [f"attention {name}"], shape, forward)
    b.measure("scaled_dot_product_attention", [f"attention_dq {name}", f"attention_dkv {name}"], shape, backward)


class Block(torch.nn.Module if torch else object):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = torch.nn.LayerNorm(d), torch.nn.LayerNorm(d)
        self.qkv, self.out = torch.nn.Linear(d, 3 * d), torch.nn.Linear(d, d)
        self.up, self.down = torch.nn.Linear(d, 4 * d), torch.nn.Linear(4 * d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (y.view(b, t, self.heads, d // self.heads).transpose(1, 2) for y in self.qkv(self.norm1(x)).split(d, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT2(torch.nn.Module if torch else object):
    def __init__(self, vocab, context, layers, heads, d):
        super().__init__()
        self.tokens, self.positions = torch.nn.Embedding(vocab, d), torch.nn.Embedding(context, d)
        self.blocks = torch.nn.ModuleList(Block(d, heads) for _ in range(layers))
        self.norm, self.head = torch.nn.LayerNorm(d), torch.nn.Linear(d, vocab, bias=False)
        self.head.weight = self.tokens.weight
        torch.nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, x, y):
        h = self.tokens(x) + self.positions.weight[: x.shape[1]]
        for block in self.blocks:
            h = block(h)
        logits = self.head(self.norm(h))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), y.view(-1))


def steps(b, _):
    batch, (vocab, context, layers, heads, d) = 8, (50257, 1024, 12, 12, 768)
    if not b.cuda:
        batch, context = 1, 64
    if b.quick:
        vocab, layers, heads, d = 500, 1, 2, 64
    ways = ("f32", "TF32", "bf16", "bf16 compiled", "TF32 compiled") if b.cuda else ("f32", "bf16")
    for peer in ways:
        name = "bf16" if "bf16" in peer else "f32"

        def prepare():
            # The precision of f32 products is a setting of the process.
            torch.backends.cuda.matmul.allow_tf32 = "TF32" in peer
            model = GPT2(vocab, context, layers, heads, d).to(b.device)
            opt = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=b.cuda)
            loss_of = torch.compile(model) if "compiled" in peer else model
            x, y = b.ids(batch * context, vocab).view(batch, context), b.ids(batch * context, vocab).view(batch, context)

            def step():
                opt.zero_grad(set_to_none=True)
                with torch.autocast(b.device.type, dtype=torch.bfloat16, enabled=name == "bf16"):
                    loss = loss_of(x, y)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()

            return step

        model_name = "GPT-2, one layer" if b.quick else "GPT-2 124M"
        b.measure(f"{model_name} {peer}", [f"{model_name} train step {name}"], f"[{batch} {context}]", prepare)
    torch.backends.cuda.matmul.allow_tf32 = False


def compare(files):
    """Prints what each row of PyTorch takes as a multiple of what the rows of bench with the same names and shape take."""
    ours, theirs = {}, []
    for name in files:
        with open(name) as f:
            for line in f:
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    continue  # the last line of a run that was stopped
                if "device" in row:
                    print(f"{name}: {row['device']}, {row['driver']}")
                elif "peer" in row:
                    theirs.append(row)
                else:
                    ours[row["name"], row["shape"]] = row["ns"]
    print(f"\n{'':42} {'shape':22} {'Lemnos':>12} {'PyTorch':>12}  {'ratio':>6}")
    for row in theirs:
        what = " + ".join(row["names"])
        label = f"{what:42} {row['shape']:22}"
        if "error" in row:
            print(f"{label} {row['peer']}: {row['error']}")
            continue
        parts = [ours.get((name, row["shape"])) for name in row["names"]]
        if None in parts:
            continue
        mine = sum(parts)
        print(f"{label} {mine / 1e3:9.1f} us {row['ns'] / 1e3:9.1f} us  {row['ns'] / mine:6.2f}  {row['peer']}")
    print("\nratio: PyTorch's time by Lemnos's; above 1 Lemnos is faster")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="MiB of the tensors of memory-bound functions")
    parser.add_argument("--quick", action="store_true", help="small tensors and few runs")
    parser.add_argument("--seconds", type=float, default=math.inf, help="start nothing after so many")
    parser.add_argument("--compare", nargs="+", metavar="FILE", help="print the table of these files")
    args = parser.parse_args()
    if args.compare:
        compare(args.compare)
        return
    if torch is None:
        sys.exit("pytorch.py: there is no PyTorch here")
    torch.manual_seed(1)
    bench = Bench(args.quick, args.seconds)
    size = (1 if args.quick else args.size) << 20
    for group in (products, attention, steps, cross_entropy, optimizer, copies):
        group(bench, size)


if __name__ == "__main__":
    main()
