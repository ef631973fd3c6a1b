"""Golden training steps of whole models, computed by PyTorch in float64 and stored as float32.

    /usr/bin/python3 nn/testdata/golden.py           # rewrites golden.json and the .bin files beside this script
    /usr/bin/python3 nn/testdata/golden.py --check   # only compares, byte by byte

Needs PyTorch >= 1.10 and NumPy (Debian: python3-torch). Inputs are streams (ops/testdata/streams.py) rounded to
bfloat16: a run in f32 and one in bf16 start from the same point.
The models are written out here rather than imported, so that each line can be held against the paper it comes from.
The Go side is opstest.TransformerCases, which describes the files.
"""
import json
import math
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.dont_write_bytecode = True  # no __pycache__ among the test data
sys.path += [os.path.join(ROOT, "ops", "testdata"), os.path.join(ROOT, "optim", "testdata")]
import streams  # noqa: E402

STEPS = 10


def rms_norm(x, weight, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def layer_norm(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + eps) * weight + bias


def rope(x, theta, half_split):
    """Rotates pair i of each head of x (B, T, H, S) by position * theta^(-2i/S). Pairs are neighbours (2i, 2i+1), or
    with half_split (i, i + S/2)."""
    t, s = x.shape[1], x.shape[3]
    angle = torch.arange(t).double()[:, None] * theta ** (-torch.arange(0, s, 2).double() / s)
    cos, sin = angle.cos()[:, None, :], angle.sin()[:, None, :]  # (T, 1, S/2)
    if half_split:
        a, b = x[..., :s // 2], x[..., s // 2:]
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def attention(q, k, v):
    """Causal attention of q (B, T, H, S) over k and v (B, T, K, S): query head h reads head h // (H/K)."""
    b, t, h, s = q.shape
    k, v = (x.repeat_interleave(h // x.shape[2], dim=2) for x in (k, v))
    scores = torch.einsum("bthd,bshd->bhts", q, k) / math.sqrt(s)
    future = torch.ones(t, t, dtype=torch.bool).triu(1)
    return torch.einsum("bhts,bshd->bthd", scores.masked_fill(future, -math.inf).softmax(-1), v)


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def head_size(c):
    return c.get("head_size") or c["width"] // c["heads"]


def forward(c, p, ids):
    """Logits (B, T, V) of the token ids (B, T). c is the configuration, p the parameters by name."""
    b, t = ids.shape

    def linear(name, x):
        y = x @ p[name + ".weight"].T
        return y + p[name + ".bias"] if c["bias"] else y

    def norm(name, x):
        if c["norm"] == "rmsnorm":
            return rms_norm(x, p[name + ".weight"], c["norm_eps"])
        return layer_norm(x, p[name + ".weight"], p[name + ".bias"], c["norm_eps"])

    def rotated(x):
        return x if c["positions"] == "learned" else rope(x, c["rope_theta"], c["positions"] == "rope_half")

    x = p["token_embeddings.weight"][ids]
    if c["positions"] == "learned":
        x = x + p["position_embeddings.weight"][:t]
    size = head_size(c)
    for i in range(c["layers"]):
        layer = f"layers.{i}."
        h = norm(layer + "ln1", x)
        q = linear(layer + "attn.q_proj", h).reshape(b, t, c["heads"], size)
        k = linear(layer + "attn.k_proj", h).reshape(b, t, c["kv_heads"], size)
        v = linear(layer + "attn.v_proj", h).reshape(b, t, c["kv_heads"], size)
        x = x + linear(layer + "attn.output_proj", attention(rotated(q), rotated(k), v).reshape(b, t, -1))
        h = norm(layer + "ln2", x)
        if c["activation"] == "swiglu":
            h = F.silu(linear(layer + "ffn.w1", h)) * linear(layer + "ffn.w3", h)
        else:
            h = gelu_tanh(linear(layer + "ffn.w1", h))
        x = x + linear(layer + "ffn.w2", h)
    head = p["token_embeddings.weight" if c["tied"] else "lm_head.weight"]
    return norm("ln_final", x) @ head.T


def parameters(c):
    """(name, shape, range, base) of each parameter: it starts as base + uniform values in [-range, range)."""
    d, q, kv = c["width"], c["heads"] * head_size(c), c["kv_heads"] * head_size(c)
    embedding = c["embedding_range"]
    yield "token_embeddings.weight", [c["vocab"], d], embedding, 0
    if c["positions"] == "learned":
        yield "position_embeddings.weight", [c["max_context"], d], embedding, 0

    def linear(name, outputs, inputs):
        # Variance 2/(inputs+outputs), as CS336 initialises, but uniform.
        yield name + ".weight", [outputs, inputs], math.sqrt(6 / (inputs + outputs)), 0
        if c["bias"]:
            yield name + ".bias", [outputs], 0.25, 0

    def norm(name):
        yield name + ".weight", [d], 0.25, 1
        if c["norm"] == "layernorm":
            yield name + ".bias", [d], 0.25, 0

    for i in range(c["layers"]):
        layer = f"layers.{i}."
        yield from norm(layer + "ln1")
        for name, outputs, inputs in [("q_proj", q, d), ("k_proj", kv, d), ("v_proj", kv, d), ("output_proj", d, q)]:
            yield from linear(layer + "attn." + name, outputs, inputs)
        yield from norm(layer + "ln2")
        yield from linear(layer + "ffn.w1", c["ffn"], d)
        if c["activation"] == "swiglu":
            yield from linear(layer + "ffn.w3", c["ffn"], d)
        yield from linear(layer + "ffn.w2", d, c["ffn"])
    yield from norm("ln_final")
    if not c["tied"]:
        yield "lm_head.weight", [c["vocab"], d], math.sqrt(6 / (c["vocab"] + d)), 0


def batch(c, step):
    """Tokens and targets (B, T) of a step (from 1): token x is followed by (5x+3) mod V, in every fourth place by any."""
    n = c["batch"] * c["length"]
    x = torch.from_numpy(streams.ids(c["token_stream"] + step, n, c["vocab"]))
    y = (5 * x + 3) % c["vocab"]
    y[::4] = torch.from_numpy(streams.ids(c["noise_stream"] + step, n, c["vocab"]))[::4]
    return x.reshape(c["batch"], -1), y.reshape(c["batch"], -1)


def optimizer(c, params):
    if c["variant"] == "torch":
        make = torch.optim.AdamW
    else:
        make = document_adamw()
    return make([{"params": params}], lr=c["lr"], betas=tuple(c["betas"]), eps=c["eps"], weight_decay=c["decay"])


def document_adamw():
    """The AdamW of the specification, out of optim's script of the same name as this one."""
    import importlib.util
    spec = importlib.util.spec_from_file_location("optim_golden", os.path.join(ROOT, "optim", "testdata", "golden.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.AdamW


def train(c, dtype=torch.float64):
    """Ten steps. Returns the specification of the parameters and the results in the order of the .bin file."""
    specs, p = [], {}
    for i, (name, shape, limit, base) in enumerate(parameters(c)):
        spec = {"name": name, "shape": shape, "stream": c["stream"] + i, "range": float(np.float32(limit)), "base": base}
        specs.append(spec)
        values = streams.stored(streams.vector(int(np.prod(shape)), spec), "bf16")
        p[name] = values.to(dtype).reshape(shape).requires_grad_()
    opt = optimizer(c, list(p.values()))
    losses, norms, first = [], [], []
    for step in range(1, STEPS + 1):
        x, y = batch(c, step)
        opt.zero_grad()
        logits = forward(c, p, x)
        loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
        loss.backward()
        norm = torch.linalg.vector_norm(torch.cat([e.grad.flatten() for e in p.values()]))
        losses.append(loss.item())
        norms.append(norm.item())
        if step == 1:
            first = [logits.detach()] + [e.grad.clone() for e in p.values()]
        # Clipping must bite, or the test would not see it.
        assert norm > c["max_norm"], f"{c['name']}: norm {norm} in step {step}"
        for e in p.values():
            e.grad.mul_(c["max_norm"] / (norm + 1e-6))
        opt.step()
    return specs, [torch.tensor(losses), torch.tensor(norms)] + first + [e.detach() for e in p.values()]


def cases():
    """Widths, lengths and vocabularies are off the multiples of 4 and 8 wherever the architecture lets them.

    Epsilon is of the size of a clipped gradient's entries. With the usual 1e-8 AdamW would move a parameter whose
    gradient is rounding noise by a full lr: in GPT-2 the bias of k is one (q (k + b) adds the same to all scores of
    a row, which softmax takes away again: the gradient is 0), and no two programs agree about noise.

    The embeddings of the models with RoPE have variance 1, as in CS336. Smaller ones let the blocks' output, which
    carries the rounding of a dozen stored tensors, rule the residual stream: at a range of 0.5 rounding what is stored
    to bfloat16, simulated here, took the gradients of q, k and the norms 2e-2 away from these, at 1.73 about 1.3e-2."""
    common = {"vocab": 47, "max_context": 24, "batch": 2, "length": 19, "lr": 1e-2, "betas": [0.9, 0.95], "eps": 1e-3,
              "decay": 0.1, "max_norm": 0.5}
    return [
        {"name": "cs336", **common, "layers": 2, "heads": 2, "kv_heads": 2, "width": 32, "ffn": 42, "norm": "rmsnorm",
         "norm_eps": 1e-5, "activation": "swiglu", "positions": "rope", "rope_theta": 10000.0, "tied": False, "bias": False,
         "embedding_range": math.sqrt(3), "variant": "document", "stream": 11000, "token_stream": 11500, "noise_stream": 11600},
        {"name": "gpt2", **common, "layers": 3, "heads": 2, "kv_heads": 2, "width": 24, "ffn": 50, "norm": "layernorm",
         "norm_eps": 1e-5, "activation": "gelu_tanh", "positions": "learned", "rope_theta": 0.0, "tied": True, "bias": True,
         "embedding_range": 0.5, "variant": "torch", "stream": 12000, "token_stream": 12500, "noise_stream": 12600},
        # Unlike Llama's own 1e-6 and 10000, this epsilon and theta show if a model uses others.
        {"name": "llama", **common, "layers": 2, "heads": 6, "kv_heads": 2, "width": 48, "ffn": 18, "norm": "rmsnorm",
         "norm_eps": 1e-2, "activation": "swiglu", "positions": "rope_half", "rope_theta": 500.0, "tied": False,
         "bias": False, "embedding_range": math.sqrt(3), "variant": "torch", "stream": 13000, "token_stream": 13500,
         "noise_stream": 13600},
        # As in Mistral NeMo all heads together are not as wide as the residual stream, which they do not even divide.
        {"name": "nemo", **common, "layers": 2, "heads": 4, "kv_heads": 2, "head_size": 12, "width": 30, "ffn": 42,
         "norm": "rmsnorm", "norm_eps": 1e-5, "activation": "swiglu", "positions": "rope_half", "rope_theta": 10000.0,
         "tied": False, "bias": False, "embedding_range": math.sqrt(3), "variant": "torch", "stream": 14000,
         "token_stream": 14500, "noise_stream": 14600},
    ]


def save(name, data):
    """Writes the file beside this script; with --check compares instead."""
    path = os.path.join(HERE, name)
    if "--check" in sys.argv:
        with open(path, "rb") as f:
            if f.read() != data:
                sys.exit(f"{path}: the file is not what this script makes")
        print(f"{path}: up to date")
        return
    with open(path, "wb") as f:
        f.write(data)
    print(f"{path}: {len(data)} bytes")


if __name__ == "__main__":
    torch.set_num_threads(1)  # one order of sums, so that every byte comes out again
    torch.set_default_dtype(torch.float64)
    index = []
    for case in cases():
        specs, results = train(case)
        save(case["name"] + ".bin", np.concatenate([r.numpy().astype("<f4").ravel() for r in results]).tobytes())
        index.append({**case, "steps": STEPS, "params": specs})
    save("golden.json", ("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in index) + "\n]\n").encode())
