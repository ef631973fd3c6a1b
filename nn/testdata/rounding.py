"""How far bfloat16 takes the gradients of the golden model gpt2 from those in float64, simulated.

    /usr/bin/python3 nn/testdata/rounding.py

Every tensor that a step stores is rounded, values and gradients; with matrix cores attention also rounds what it
multiplies by V, K, Q and dy. In each of 500 runs every stored value is moved by up to a quarter of its rounding first: runs that
round as well as one another, and differ as those of two devices do. Printed is the error, relative L2, of the gradient that is
furthest off: the median, what 99 of 100 runs stay below, and the largest.
"""
import math
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
import golden  # noqa: E402

RUNS = 500
NOISE = 2.0 ** -11  # relative; bfloat16 rounds by up to 2^-9
generator = torch.Generator()


def rounded(x):
    return (x * (1 + NOISE * (2 * torch.rand(x.shape, generator=generator) - 1))).bfloat16().double()


class Stored(torch.autograd.Function):
    """A tensor in memory, and its gradient."""

    @staticmethod
    def forward(_, x):
        return rounded(x)

    @staticmethod
    def backward(_, gradient):
        return rounded(gradient)


class Attention(torch.autograd.Function):
    """Causal attention of (B, T, H, S) whose products are of rounded factors if `cores`."""
    cores = False

    @staticmethod
    def factor(x):
        return rounded(x) if Attention.cores else x

    @staticmethod
    def forward(ctx, q, k, v):
        t, scale = q.shape[1], 1 / math.sqrt(q.shape[3])
        logits = torch.einsum("bthd,bshd->bhts", q, k) * scale
        logits = logits.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -math.inf)
        weights = (logits - logits.max(-1, keepdim=True).values).exp()
        total = weights.sum(-1, keepdim=True)
        y = rounded(torch.einsum("bhts,bshd->bthd", Attention.factor(weights), v) / total.permute(0, 2, 1, 3))
        ctx.save_for_backward(q, k, v, y, weights / total)
        return y

    @staticmethod
    def backward(ctx, dy):
        q, k, v, y, p = ctx.saved_tensors
        delta = (dy * y).sum(-1).permute(0, 2, 1)[..., None]
        slope = Attention.factor(p * (torch.einsum("bthd,bshd->bhts", dy, v) - delta) / math.sqrt(q.shape[3]))
        return (rounded(torch.einsum("bhts,bshd->bthd", slope, k)), rounded(torch.einsum("bhts,bthd->bshd", slope, q)),
                rounded(torch.einsum("bhts,bthd->bshd", Attention.factor(p), dy)))


def forward(c, p, ids):
    """golden.forward of GPT-2's kind, with all that is stored rounded."""
    stored = Stored.apply

    def linear(name, x):
        return x @ p[name + ".weight"].T + p[name + ".bias"]

    def norm(name, x):
        return stored(golden.layer_norm(x, p[name + ".weight"], p[name + ".bias"], c["norm_eps"]))

    b, t = ids.shape
    x = stored(p["token_embeddings.weight"][ids] + p["position_embeddings.weight"][:t])
    for i in range(c["layers"]):
        layer = f"layers.{i}."
        h = norm(layer + "ln1", x)
        q, k, v = (stored(linear(f"{layer}attn.{name}_proj", h)).reshape(b, t, c["heads"], -1) for name in "qkv")
        x = stored(x + linear(layer + "attn.output_proj", Attention.apply(q, k, v).reshape(b, t, -1)))
        h = stored(golden.gelu_tanh(stored(linear(layer + "ffn.w1", norm(layer + "ln2", x)))))
        x = stored(x + linear(layer + "ffn.w2", h))
    return stored(norm("ln_final", x) @ p["token_embeddings.weight"].T)


def gradients(c, forward):
    p = {}
    for i, (name, shape, limit, base) in enumerate(golden.parameters(c)):
        spec = {"stream": c["stream"] + i, "range": float(np.float32(limit)), "base": base}
        values = golden.streams.stored(golden.streams.vector(int(np.prod(shape)), spec), "bf16")
        p[name] = values.double().reshape(shape).requires_grad_()
    x, y = golden.batch(c, 1)
    F.cross_entropy(forward(c, p, x).flatten(0, 1), y.flatten()).backward()
    # The bias of k has none: it adds the same to all logits of a row.
    return {name: e.grad for name, e in p.items() if not name.endswith("k_proj.bias")}


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    gpt2 = next(c for c in golden.cases() if c["name"] == "gpt2")
    exact = gradients(gpt2, golden.forward)
    for Attention.cores in False, True:
        furthest = []
        for seed in range(RUNS):
            generator.manual_seed(seed)
            got = gradients(gpt2, forward)
            furthest.append(max(((rounded(got[n]) - e).norm() / e.norm()).item() for n, e in exact.items()))
        cores = "with" if Attention.cores else "without"
        print(f"{cores} matrix cores: median {np.median(furthest):.4f}, 99 % {np.quantile(furthest, 0.99):.4f}, largest {max(furthest):.4f}")
