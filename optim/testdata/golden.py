"""Golden values for the tests of optim, computed by PyTorch in float64 on f32 (or 16-bit) inputs.

    /usr/bin/python3 optim/testdata/golden.py           # rewrites the .json files beside this script
    /usr/bin/python3 optim/testdata/golden.py --check   # only compares

Needs PyTorch >= 1.10 and NumPy (Debian: python3-torch). How inputs are described and results are shortened:
ops/testdata/streams.py. The Go side is package opstest.
"""
import math
import os
import sys

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True  # no __pycache__ among the test data
sys.path.append(os.path.join(HERE, "..", "..", "ops", "testdata"))
import streams  # noqa: E402
from streams import stored, summary, vector  # noqa: E402


class AdamW(torch.optim.Optimizer):
    """The AdamW of the specification: decay after the update, on the updated parameter; epsilon beside sqrt(v)."""

    def __init__(self, groups, **defaults):
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                s = self.state[p]
                if not s:
                    s.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
                s["step"] += 1
                m = s["exp_avg"].mul_(beta1).add_(p.grad, alpha=1 - beta1)
                v = s["exp_avg_sq"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                alpha = group["lr"] * math.sqrt(1 - beta2 ** s["step"]) / (1 - beta1 ** s["step"])
                p.sub_(alpha * m / (v.sqrt() + group["eps"]))
                p.sub_(group["lr"] * group["weight_decay"] * p)


def cosine(t, high, low, warmup, end):
    """Learning rate of step t: linear warm-up, cosine, constant."""
    if t < warmup:
        return high * (t / max(1, warmup))
    if t <= end:
        return low + (high - low) * 0.5 * (1 + math.cos(math.pi * (t - warmup) / max(1, end - warmup)))
    return low


STEPS = 100
SAMPLED = [1, 2, 10, 100]


def adamw_case(name, variant, count, sizes, groups, grad_dtype="f32", skips=()):
    """A trajectory of `count` tensors. Tensor j has sizes[j % len] values, starts as uniform(stream + j, 1), belongs to
    group j % len(groups), and its gradient in step t (from 1) is uniform(hash(grad_stream + j, t)) in a range of
    2^exponents[j % len], stored in grad_dtype. In a step (tensor, step) of skips the tensor has no gradient."""
    exponents = [0, -4, -10, -27, 3]
    stream, grad_stream = 2000, 40000
    rates = [cosine(t, 1e-2, 1e-3, 10, 80) for t in range(1, STEPS + 1)]
    params = [torch.from_numpy(streams.uniform(stream + j, sizes[j % len(sizes)], 1)).double().requires_grad_()
              for j in range(count)]
    grad_streams = [streams.hashes(grad_stream + j, STEPS + 1) for j in range(count)]
    make = {"document": AdamW, "torch": torch.optim.AdamW}[variant]
    opt = make([{"params": params[g::len(groups)], "betas": tuple(o["betas"]), "eps": o["eps"],
                 "weight_decay": o["decay"]} for g, o in enumerate(groups) if params[g::len(groups)]], lr=0.0)
    want = []
    for t in range(1, STEPS + 1):
        for g, o in zip(opt.param_groups, groups):
            g["lr"] = rates[t - 1] * o["rate"]
        for j, p in enumerate(params):
            x = streams.uniform(grad_streams[j][t], len(p), 2.0 ** exponents[j % len(exponents)])
            p.grad = None if (j, t) in skips else stored(x, grad_dtype)
        opt.step()
        if t in SAMPLED:
            state = [opt.state[p] for p in params]
            want.append({"step": t, "p": summary(torch.cat(params)),
                         "m": summary(torch.cat([s["exp_avg"] for s in state])),
                         "v": summary(torch.cat([s["exp_avg_sq"] for s in state]))})
    return {"name": name, "variant": variant, "count": count, "sizes": list(sizes), "stream": stream,
            "grad_stream": grad_stream, "exponents": exponents, "grad_dtype": grad_dtype, "groups": groups,
            "rates": rates, "skips": [list(s) for s in skips], "want": want}


def adamw_cases():
    one = [{"rate": 1.0, "betas": [0.9, 0.95], "eps": 1e-8, "decay": 0.1}]
    two = [{"rate": 1.0, "betas": [0.9, 0.95], "eps": 1e-8, "decay": 0.1},
           {"rate": 0.5, "betas": [0.8, 0.99], "eps": 1e-6, "decay": 0.0}]
    bare = [{"rate": 1.0, "betas": [0.9, 0.95], "eps": 1e-8, "decay": 0.0}]
    sgd = [{"rate": 1.0, "betas": [0.0, 0.0], "eps": 1e-8, "decay": 0.01}]
    many = [1, 3, 5, 64, 7, 2, 127, 33, 4, 1000, 10]
    cases = []
    for variant in ["document", "torch"]:
        cases.append(adamw_case("one tensor", variant, 1, [64], one))
        cases.append(adamw_case("one value, no decay", variant, 1, [1], bare))
        cases.append(adamw_case("betas 0", variant, 1, [5], sgd))
        cases.append(adamw_case("three tensors", variant, 3, [5, 1000, 33], two))
        cases.append(adamw_case("a tensor without gradient in some steps", variant, 3, [5, 100, 33], two,
                                skips=[(1, 2), (1, 3), (1, 50), (2, 50), (0, 99)]))
        for dtype in ["f16", "bf16"]:
            cases.append(adamw_case("three tensors", variant, 3, [5, 1000, 33], two, grad_dtype=dtype))
        cases.append(adamw_case("1000 tensors", variant, 1000, many, two))
    return cases


def clip_cases():
    """Global norm, and the gradients after clipping to each of max_norms: g * max / (norm + 1e-6) where norm > max."""
    def case(name, tensors, max_norms):
        grads = [torch.from_numpy(vector(t["n"], t)).double() for t in tensors]
        norm = float(torch.linalg.vector_norm(torch.cat(grads)))
        clips = []
        for limit in max_norms:
            scale = limit / (norm + 1e-6) if norm > limit else 1.0
            clips.append({"max_norm": limit, "scale": scale, "grad": summary(torch.cat(grads) * scale)})
        return {"name": name, "tensors": tensors, "norm": norm, "clips": clips}

    def u(n, stream, value_range, pieces=()):
        return {"n": n, "stream": stream, "range": value_range, "set": [list(p) for p in pieces]}

    return [
        case("zeros", [u(5, 0, 0), u(1000, 0, 0)], [0.0, 1.0]),
        case("3 4 5", [u(1, 0, 0, [(0, 1, 3)]), u(7, 0, 0, [(6, 7, -4)])], [5.0, 4.999999, 5.000001, 0.0]),
        case("many 3 4 5", [u(16, 0, 0, [(0, 16, 3)]), u(16, 0, 0, [(0, 16, -4)])], [20.0, 10.0]),
        case("ordinary", [u(64, 3000, 1), u(1001, 3001, 0.25), u(3, 3002, 2)], [1.0, 100.0, 0.0]),
        case("100 tensors", [u(1 + 7 * j % 53, 3100 + j, 1) for j in range(100)], [1.0]),
        case("large", [u(300000, 3003, 1), u(33, 3004, 4)], [1.0, 1000.0]),
        case("1e30", [u(100, 3005, 1e30)], [1.0, 1e30, 1e32]),
        case("one 1e30", [u(100, 3005, 1, [(57, 58, 1e30)])], [1.0, 1e31]),
        case("3e38", [u(1, 0, 0, [(0, 1, 3e38)])], [1.0]),
        case("1e-30", [u(100, 3006, 1e-30)], [1.0, 0.0]),
        case("all 1e-30", [u(4096, 0, 0, [(0, 4096, 1e-30)])], [1.0, 1e-30]),
        case("1e-38", [u(12, 0, 0, [(0, 12, 2e-38)])], [1.0]),
        case("1e30 and 1e-30", [u(50, 3007, 1e30), u(50, 3008, 1e-30)], [1.0]),
        case("1e-30 and 1", [u(2000, 3009, 1e-30), u(2000, 3010, 1)], [1.0, 100.0]),
        case("1e-30 before 1e30 in one tensor", [u(500, 0, 0, [(0, 499, 1e-30), (499, 500, 1e30)])], [1.0]),
        case("1e15 and 1e-15", [u(700, 3011, 1e15), u(5, 3012, 1e-15), u(1, 0, 0)], [1.0]),
    ]


def bigram_cases():
    """A bigram model (logits = E[token]) trained with cross-entropy, clipping, AdamW and the cosine schedule. Token i of
    step t (from 1) is hash(stream + t, i) % V; its target is (5 token + 3) % V, or in every fourth place another token."""
    v, b, m, steps = 64, 4, 16, 20
    cases = []
    for variant, limit, decay in [("document", 0.09, 0.1), ("torch", 0.09, 0.1), ("document", 1.0, 0.0)]:
        rates = [cosine(t, 0.3, 0.03, 4, 18) for t in range(1, steps + 1)]
        e = torch.from_numpy(streams.uniform(5000, v * v, 0.125)).double().reshape(v, v).requires_grad_()
        make = {"document": AdamW, "torch": torch.optim.AdamW}[variant]
        opt = make([{"params": [e]}], lr=0.0, betas=(0.9, 0.95), eps=1e-8, weight_decay=decay)
        losses, norms = [], []
        for t in range(1, steps + 1):
            x = torch.from_numpy(streams.ids(6000 + t, b * m, v))
            y = (5 * x + 3) % v
            y[::4] = torch.from_numpy(streams.ids(7000 + t, b * m, v))[::4]
            opt.zero_grad()
            loss = F.cross_entropy(F.embedding(x, e), y)
            loss.backward()
            norm = e.grad.norm().item()
            if norm > limit:
                e.grad.mul_(limit / (norm + 1e-6))
            opt.param_groups[0]["lr"] = rates[t - 1]
            opt.step()
            losses.append(loss.item())
            norms.append(norm)
        cases.append({"variant": variant, "max_norm": limit, "betas": [0.9, 0.95], "eps": 1e-8, "decay": decay,
                      "v": v, "b": b, "m": m, "rates": rates, "stream": 5000, "range": 0.125, "token_stream": 6000,
                      "noise_stream": 7000, "losses": losses, "norms": norms, "e": summary(e)})
    return cases


def lion_step(p, m, lr, beta1, beta2, decay):
    """Chen et al., "Symbolic discovery of optimization algorithms", 2023, program 1."""
    update = (beta1 * m + (1 - beta1) * p.grad).sign()
    m.copy_(beta2 * m + (1 - beta2) * p.grad)
    p.sub_(lr * (update + decay * p))


def muon_step(p, m, lr, beta1, beta2, decay):
    """Jordan, "Muon: an optimizer for hidden layers in neural networks", 2024, as in github.com/KellerJordan/Muon, with
    float64 where that has bfloat16. beta2 is not used."""
    m.lerp_(p.grad, 1 - beta1)
    x = p.grad.lerp(m, beta1)
    a, b, c = 3.4445, -4.7750, 2.0315
    if x.size(0) > x.size(1):
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    if p.size(0) > p.size(1):
        x = x.T
    p.mul_(1 - lr * decay)
    p.sub_(lr * max(1, p.size(0) / p.size(1)) ** 0.5 * x)


def rule_cases():
    """Trajectories of a matrix that starts as uniform(stream, 1), its gradient in step t (from 0) being
    uniform(stream + 1 + t, 0.25)."""
    cases = []
    for rule, rows, cols, lr, betas, decay in [
            ("sgd", 5, 7, 0.1, [0.9, 0.0], 0.01), ("sgd nesterov", 5, 7, 0.1, [0.9, 0.0], 0.01), ("sgd", 40, 33, 0.1, [0.5, 0.0], 0.0),
            ("lion", 5, 7, 1e-2, [0.9, 0.99], 0.1), ("lion", 40, 33, 1e-3, [0.95, 0.98], 1.0),
            ("muon", 5, 7, 0.02, [0.95, 0.0], 0.1), ("muon", 32, 32, 0.02, [0.95, 0.0], 0.0), ("muon", 40, 33, 0.02, [0.9, 0.0], 0.1),
            ("muon", 1, 9, 0.02, [0.95, 0.0], 0.0), ("muon", 128, 16, 0.02, [0.95, 0.0], 0.0)]:
        stream, steps = 9000 + 100 * len(cases), 10
        p = torch.from_numpy(streams.uniform(stream, rows * cols, 1)).double().reshape(rows, cols).requires_grad_()
        m = torch.zeros_like(p)
        opt = torch.optim.SGD([p], lr=lr, momentum=betas[0], weight_decay=decay, nesterov="nesterov" in rule)
        for t in range(steps):
            p.grad = torch.from_numpy(streams.uniform(stream + 1 + t, rows * cols, 0.25)).double().reshape(rows, cols)
            if rule.startswith("sgd"):
                opt.step()
                m = opt.state[p]["momentum_buffer"]
                continue
            with torch.no_grad():
                {"lion": lion_step, "muon": muon_step}[rule](p, m, lr, *betas, decay)
        cases.append({"rule": rule, "rows": rows, "cols": cols, "steps": steps, "lr": lr, "betas": betas, "decay": decay,
                      "stream": stream, "p": summary(p), "m": summary(m)})
    return cases


if __name__ == "__main__":
    for name, make in [("adamw", adamw_cases), ("clip", clip_cases), ("bigram", bigram_cases), ("rules", rule_cases)]:
        streams.save(os.path.join(HERE, name + ".json"), make())
