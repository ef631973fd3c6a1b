"""Golden values for the tests of ops, computed by PyTorch in float64 on the stored (f32, f16, bf16) inputs.

    /usr/bin/python3 ops/testdata/golden.py           # rewrites the .json files beside this script
    /usr/bin/python3 ops/testdata/golden.py --check   # only compares

Needs PyTorch >= 1.10 and NumPy (Debian: python3-torch). How inputs are described and results are shortened:
streams.py. The Go side is package opstest, which first proves its float64 references against these files.
"""
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.dont_write_bytecode = True  # no __pycache__ among the test data
import streams  # noqa: E402
from streams import stored, summary, vector  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
INF = float("inf")
NAN = float("nan")


def cross_entropy(x, t, options):
    """Mean loss, loss of each row, and count of valid rows, of logits x (N, V)."""
    ignore = options.get("ignore", -(2**40))
    z = options.get("zloss", 0.0)
    valid = t != ignore
    how = dict(ignore_index=ignore, label_smoothing=options.get("smoothing", 0.0))
    rows = F.cross_entropy(x, t, reduction="none", **how)
    mean = F.cross_entropy(x, t, reduction="mean", **how)
    loss = rows.sum() / valid.sum()
    torch.testing.assert_close(loss, mean, rtol=1e-12, atol=0, equal_nan=True)
    if z:  # PaLM's: lambda * lse^2 for each position, no part of PyTorch
        rows = rows + torch.where(valid, z * torch.logsumexp(x, dim=-1) ** 2, torch.zeros(()).double())
        loss = rows.sum() / valid.sum()
    return loss, rows, valid


def cross_entropy_case(name, shape, dtypes, x, targets=None, **options):
    """One golden case per storage type. x and targets are descriptions (streams.vector, streams.integers)."""
    out = []
    v = shape[-1]
    n = int(np.prod(shape[:-1]))
    targets = {"stream": 1000 + x.get("stream", 0), **(targets or {})}
    t = torch.from_numpy(streams.integers(n, v, targets))
    for dtype in dtypes.split():
        logits = stored(vector(n * v, x), dtype).reshape(n, v).requires_grad_()
        loss, rows, valid = cross_entropy(logits, t, options)
        (options.get("scale", 1.0) * loss).backward()
        # PyTorch gives NaN gradients to an ignored row that holds NaN or +inf; the specification gives 0.
        grad = torch.where(valid[:, None], logits.grad, torch.zeros(()).double())
        hits = [i * v + int(t[i]) for i in range(0, n, max(1, n // 8)) if valid[i]]
        out.append({
            "name": name, "shape": list(shape), "dtype": dtype, "x": x, "targets": targets, "options": options,
            "loss": loss.item(), "rows": summary(rows), "grad": summary(grad, hits)})
    return out


def cross_entropy_cases():
    c = cross_entropy_case
    every = "f32 f16 bf16"
    cases = []
    # shapes
    cases += c("one", [1, 1], every, {"stream": 1, "range": 4})
    cases += c("two", [1, 2], every, {"stream": 2, "range": 4})
    cases += c("cube", [2, 3, 5], every, {"stream": 3, "range": 4})
    cases += c("small", [7, 33], every, {"stream": 4, "range": 8})
    cases += c("wide", [8, 50257], every, {"stream": 5, "range": 8})
    cases += c("tall", [4096, 1000], every, {"stream": 6, "range": 8})
    cases += c("widest", [3, 262144], every, {"stream": 7, "range": 16})
    cases += c("many rows", [65537, 3], "f32", {"stream": 8, "range": 2})
    # large logits
    cases += c("up to 1e4", [5, 257], every, {"stream": 9, "range": 1e4})
    cases += c("plus and minus 1e4", [4, 100], every, {"set": [
        [0, 400, -1e4], [0, 50, 1e4], [100, 101, 1e4], [200, 300, 1e4]]},
        {"set": [[0, 1, 3], [1, 2, 0], [2, 3, 99], [3, 4, 1]]})
    cases += c("constant 1e4", [3, 50257], "f32 bf16", {"base": 1e4})
    cases += c("constant 1e7", [2, 1000], "f32 bf16", {"base": 1e7})
    cases += c("noise on 1e4", [3, 1000], "f32", {"stream": 10, "range": 8, "base": 1e4})
    # options
    x, t = {"stream": 11, "range": 8}, {"stream": 12, "set": [[1, 3, -100], [6, 7, -100]]}
    inside = {"stream": 13, "set": [[0, 1, 5], [4, 5, 5]]}
    cases += c("ignore -100", [7, 33], every, x, t, ignore=-100)
    cases += c("ignore 5", [7, 33], every, x, inside, ignore=5)
    cases += c("ignore unused", [7, 33], "f32", x, ignore=-100)
    cases += c("smoothing", [7, 33], every, x, smoothing=0.1)
    cases += c("zloss", [7, 33], every, x, zloss=1e-4)
    cases += c("upstream", [7, 33], every, x, scale=1024.0)
    cases += c("every option", [2, 7, 33], every, x, t, ignore=-100, smoothing=0.1, zloss=1e-4, scale=0.125)
    big = {"stream": 14, "range": 16}
    cases += c("every option, wide", [6, 50257], every, big, {"set": [[2, 4, -100]]},
               ignore=-100, smoothing=0.1, zloss=1e-4, scale=3.0)
    cases += c("every option, tall", [300, 129], every, big, {"set": [[0, 1, -100], [100, 250, -100]]},
               ignore=-100, smoothing=0.1, zloss=1e-4, scale=65536.0)
    # non-finite logits, rows of 17
    legal = [[0, 4, -INF], [17, 33, -INF], [36, 37, -INF], [50, 51, -INF]]  # row 1: all but the last
    first = {"set": [[0, 1, 4], [1, 2, 16], [2, 3, 0], [3, 4, 7]]}
    cases += c("minus inf off target", [4, 17], every, {"stream": 15, "range": 8, "set": legal}, first)
    cases += c("minus inf off target, zloss", [4, 17], "f32", {"stream": 15, "range": 8, "set": legal}, first, zloss=1e-4)
    cases += c("minus inf off target, smoothing", [4, 17], "f32", {"stream": 15, "range": 8, "set": legal}, first,
               smoothing=0.1)
    cases += c("minus inf on target", [3, 17], every, {"stream": 16, "range": 8, "set": [[17, 19, -INF]]},
               {"set": [[1, 2, 0]]})
    broken = [
        [17, 34, -INF],                        # row 1: all -inf
        [2 * 17 + 5, 2 * 17 + 6, INF],         # row 2: one +inf
        [3 * 17, 3 * 17 + 1, NAN],             # row 3: NaN first
        [4 * 17 + 16, 4 * 17 + 17, NAN],       # row 4: NaN last
        [5 * 17 + 8, 5 * 17 + 9, NAN], [5 * 17 + 3, 5 * 17 + 4, INF],
        [7 * 17, 8 * 17, -INF], [7 * 17 + 2, 7 * 17 + 3, NAN],
        [8 * 17, 9 * 17, NAN],                 # row 8: all NaN; rows 0, 6 and 9 are sound
        [10 * 17 + 2, 10 * 17 + 3, NAN], [11 * 17, 12 * 17, -INF]]  # rows 10 and 11: ignored
    where = {"set": [[0, 1, 0], [2, 3, 5], [3, 4, 9], [4, 5, 16], [10, 12, -100]]}
    cases += c("broken rows", [12, 17], every, {"stream": 17, "range": 8, "set": broken}, where, ignore=-100)
    cases += c("broken rows, every option", [12, 17], "f32", {"stream": 17, "range": 8, "set": broken}, where,
               ignore=-100, smoothing=0.1, zloss=1e-4, scale=2.0)
    return cases


def linear_cases():
    """LinearCrossEntropy: hidden (N, D), weight (V, D), logits = hidden weight^T."""
    cases = []
    for name, (n, d, v), options in [
            ("plain", (37, 20, 101), {}),
            ("one", (1, 1, 1), {}),
            ("odd", (5, 3, 7), {"scale": 8.0}),
            ("every option", (37, 20, 101), {"ignore": -100, "smoothing": 0.1, "zloss": 1e-4, "scale": 0.5}),
            ("many", (700, 33, 1030), {"ignore": 3})]:
        h = {"stream": 40, "range": 2}
        w = {"stream": 41, "range": 1}
        targets = {"stream": 42, "set": [[2, 9, -100]] if options.get("ignore") == -100 else []}
        t = torch.from_numpy(streams.integers(n, v, targets))
        for dtype in ["f32"] if name == "many" else streams.DTYPES:
            H = stored(vector(n * d, h), dtype).reshape(n, d).requires_grad_()
            W = stored(vector(v * d, w), dtype).reshape(v, d).requires_grad_()
            loss, rows, _ = cross_entropy(H @ W.T, t, options)
            (options.get("scale", 1.0) * loss).backward()
            cases.append({
                "name": name, "n": n, "d": d, "v": v, "dtype": dtype, "h": h, "w": w, "targets": targets,
                "options": options, "loss": loss.item(), "rows": summary(rows),
                "dh": summary(H.grad), "dw": summary(W.grad)})
    return cases


def embedding_cases():
    """Gradient of the gather of N rows of a (V, D) table: rows of dy added up by id."""
    cases = []
    for name, v, d, n, targets in [
            ("repeated", 7, 5, 12, {"stream": 50, "set": [[3, 8, 2]]}),
            ("one row", 1, 1, 9, {"stream": 51}),
            ("all the same", 4, 3, 33, {"stream": 52, "set": [[0, 33, 3]]}),
            ("crowded", 3, 4, 1000, {"stream": 53}),
            ("sparse", 1000, 6, 40, {"stream": 54})]:
        dy = {"stream": 55, "range": 1}
        t = torch.from_numpy(streams.integers(n, v, targets))
        for dtype in streams.DTYPES:
            table = torch.zeros(v, d, dtype=torch.float64, requires_grad=True)
            F.embedding(t, table).backward(stored(vector(n * d, dy), dtype).reshape(n, d))
            cases.append({"name": name, "v": v, "d": d, "n": n, "dtype": dtype, "ids": targets, "dy": dy,
                          "de": summary(table.grad)})
    return cases


def matmul_cases():
    """C (m, n) = A B with A stored (m, k), or (k, m) for tn, and B stored (k, n), or (n, k) for nt."""
    cases = []
    for m, n, k in [(1, 1, 1), (1, 5, 1), (3, 1, 2), (2, 3, 4), (5, 7, 3), (9, 4, 17), (17, 19, 23), (33, 31, 1),
                    (1, 130, 67), (64, 65, 66), (128, 128, 128), (130, 67, 301)]:
        for kind in ["nn", "nt", "tn"]:
            for dtype in streams.DTYPES:
                a = stored(vector(m * k, {"stream": 60, "range": 2}), dtype)
                b = stored(vector(k * n, {"stream": 61, "range": 2}), dtype)
                A = a.reshape(k, m).T if kind == "tn" else a.reshape(m, k)
                B = b.reshape(n, k).T if kind == "nt" else b.reshape(k, n)
                want = summary(A @ B)
                if "all" in want and m * n > 64 and dtype != "f32":
                    continue  # the f32 case stands for the shape
                cases.append({"kind": kind, "m": m, "n": n, "k": k, "dtype": dtype,
                              "a": {"stream": 60, "range": 2}, "b": {"stream": 61, "range": 2}, "c": want})
    return cases


def attention_cases():
    """Causal attention, scale 1/sqrt(S), of q (B, T, H, S) over k and v (B, T, K, S): query head h reads head h // (H/K).
    dy is the gradient of the result y."""
    cases = []
    for (b, t, h, kv, s), wide, dtypes in [
            ((1, 1, 1, 1, 16), 2, "f32"),
            ((2, 19, 6, 2, 16), 2, "f32 f16 bf16"),
            ((3, 33, 2, 2, 20), 2, "f32"),
            ((1, 65, 3, 1, 128), 2, "f32"),
            ((1, 257, 6, 2, 16), 2, "f32 f16 bf16"),
            ((1, 257, 2, 1, 64), 2, "f32 bf16"),
            ((1, 257, 4, 2, 32), 12, "f32")]:  # scores of some hundred: weights of nearly 0 and 1
        inputs = {"q": {"stream": 80, "range": wide}, "k": {"stream": 81, "range": wide},
                  "v": {"stream": 82, "range": 1}, "dy": {"stream": 83, "range": 1}}
        heads = {"q": h, "k": kv, "v": kv, "dy": h}
        for dtype in dtypes.split():
            q, k, v, dy = (stored(vector(b * t * heads[n] * s, inputs[n]), dtype).reshape(b, t, heads[n], s)
                           for n in ["q", "k", "v", "dy"])
            for x in (q, k, v):
                x.requires_grad_()
            K, V = (x.repeat_interleave(h // kv, dim=2).transpose(1, 2) for x in (k, v))
            scores = q.transpose(1, 2) @ K.transpose(2, 3) / s**0.5
            weights = scores.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -INF).softmax(-1)
            y = (weights @ V).transpose(1, 2)
            y.backward(dy)
            cases.append({"b": b, "t": t, "heads": h, "kv_heads": kv, "size": s, "dtype": dtype, **inputs, "y": summary(y),
                          "dq": summary(q.grad), "dk": summary(k.grad), "dv": summary(v.grad)})
    return cases


def stream_cases():
    """What Go must agree on before anything else: the streams, and rounding to 16 bits."""
    edges = [0.0, -0.0, 1.0, -1.0, 65504.0, 65519.0, 65520.0, 1e5, -1e5, 2.0**-14, 2.0**-24, 2.0**-25, 2.0**-25 * 1.5,
             6.1e-5, 1 + 2.0**-11, 1 + 3 * 2.0**-11, 1 + 2.0**-8, 1 + 3 * 2.0**-8, 3.4e38, 3.39e38, 1e-40, 1e-45, INF, -INF]
    x = np.concatenate([np.array(edges, np.float32), streams.uniform(70, 100, 8), streams.uniform(71, 20, 1e-4),
                        streams.uniform(72, 20, 1e-38)])
    t = torch.from_numpy(x)
    bits = {d: t.to(streams.DTYPES[d]).view(torch.int16).numpy().astype(np.uint16).tolist() for d in ["f16", "bf16"]}
    return [{
        "hashes": {str(s): streams.hashes(s, 8).tolist() for s in [0, 1, 2, 0x9E0001, 0xFFFFFFFF]},
        "uniform": [streams.uniform(s, 6, r).astype(np.float64).tolist() for s, r in [(70, 8), (71, 1e30), (72, 1e-30)]],
        "x": x.view(np.uint32).tolist(), **bits}]


if __name__ == "__main__":
    torch.manual_seed(0)
    for name, make in [("streams", stream_cases), ("crossentropy", cross_entropy_cases), ("linear", linear_cases),
                       ("embedding", embedding_cases), ("matmul", matmul_cases), ("attention", attention_cases)]:
        streams.save(os.path.join(HERE, name + ".json"), make())
