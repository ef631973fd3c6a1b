"""Losses and gradients of the three models in float64, by PyTorch: python3 make_golden.py writes gpt.json, experts.json and
convolution.json beside itself. Values and gradients are f32, little-endian, in base64. Made with torch 2.15.0 on a processor."""
import base64, json, math, pathlib
import torch
import torch.nn.functional as F

B, T, V, EPS = 2, 6, 24, 1e-6


class Params(dict):
    """Parameters by name, drawn as they are first asked for."""

    def get(self, name, *shape, mean=0.0):
        values = mean + torch.randn(shape) / math.sqrt(shape[-1])
        self[name] = values.double().requires_grad_()
        return self[name]


def norm(x, weight=1.0):
    return x * (x.pow(2).mean(-1, keepdim=True) + EPS).rsqrt() * weight


def rope(x, half):  # (B, T, H, S)
    s = x.shape[-1]
    angle = torch.arange(T, dtype=torch.float64)[:, None] * 1e4 ** (-torch.arange(0, s, 2, dtype=torch.float64) / s)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    if half:
        u, v = x[..., : s // 2], x[..., s // 2 :]
        return torch.cat([u * cos - v * sin, u * sin + v * cos], -1)
    u, v = x[..., 0::2], x[..., 1::2]
    return torch.stack([u * cos - v * sin, u * sin + v * cos], -1).flatten(-2)


def attention(q, k, v):  # (B, T, H, S) each
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(-2)


def gpt(p, x, y):
    d, heads, cap = 16, 2, 2.0
    split = lambda t: t.view(B, T, heads, d // heads)
    h = norm(p.get("embed", V, d)[x])
    first = None
    for i in range(2):
        name = f"layers.{i}."
        n = norm(h)
        q, k, v = (split(n @ p.get(name + w, d, d).T) for w in ("query", "key", "value"))
        if first is None:
            first = v
        else:
            mix = p.get(name + "mix", 1, mean=0.5)
            v = (1 - mix) * v + mix * first
        a = attention(norm(rope(q, True)), norm(rope(k, True)), v)
        h = h + a @ p.get(name + "output", d, d).T
        h = h + F.relu(norm(h) @ p.get(name + "up", 4 * d, d).T).square() @ p.get(name + "down", d, 4 * d).T
    logits = cap * torch.tanh(norm(h) @ p.get("head", V, d).T / cap)
    return F.cross_entropy(logits.view(-1, V), y.view(-1))


def experts(p, x, y):
    d, heads, ffn, count = 16, 2, 24, 4
    split = lambda t: t.view(B, T, heads, d // heads)
    h = p.get("embed", V, d)[x]
    n = norm(h, p.get("norms.0", d, mean=1.0))
    q, k, v = (split(n @ p.get(w, d, d).T) for w in ("query", "key", "value"))
    h = h + attention(rope(q, False), rope(k, False), v) @ p.get("output", d, d).T
    n = norm(h, p.get("norms.1", d, mean=1.0)).view(B * T, d)
    probabilities = torch.softmax(n @ p.get("router", count, d).T, -1)
    best, which = probabilities.topk(2)
    best = best / best.sum(-1, keepdim=True)
    weights = torch.zeros_like(probabilities).scatter(-1, which, best)
    out = torch.zeros_like(n)
    for e in range(count):
        up, down = p.get(f"experts.{e}.up", ffn, d), p.get(f"experts.{e}.down", d, ffn)
        rows = (which == e).any(-1).nonzero()[:, 0]  # only the tokens that chose it
        out = out.index_add(0, rows, weights[rows, e : e + 1] * (F.silu(n[rows] @ up.T) @ down.T))
    h = h + out.view(B, T, d)
    logits = norm(h, p.get("norms.2", d, mean=1.0)) @ p.get("head", V, d).T
    share = F.one_hot(which, count).sum(1).double().mean(0) / 2
    balance = count * (share * probabilities.mean(0)).sum()
    return F.cross_entropy(logits.view(-1, V), y.view(-1)) + 0.1 * balance


def convolution(p, x, y):
    d, reach = 10, 3
    table = p.get("embed", V, d)
    h = table[x]
    for i in range(2):
        name = f"layers.{i}."
        w = p.get(name + "convolution", reach, d)
        n = F.pad(norm(h).transpose(1, 2), (reach - 1, 0))  # (B, D, T + K - 1)
        h = h + F.conv1d(n, w.flip(0).T[:, None], groups=d).transpose(1, 2)
        h = h + F.silu(norm(h) @ p.get(name + "up", 2 * d, d).T) @ p.get(name + "down", d, 2 * d).T
    return F.cross_entropy((norm(h) @ table.T).view(-1, V), y.view(-1))


def packed(t):
    return base64.b64encode(t.detach().float().numpy().astype("<f4").tobytes()).decode()


for model in (gpt, experts, convolution):
    torch.manual_seed(7)
    x, y = torch.randint(V, (2, B, T))
    y[1, 2] = -100
    p = Params()
    loss = model(p, x, y)
    loss.backward()
    golden = {"inputs": x.flatten().tolist(), "targets": y.flatten().tolist(), "loss": loss.item(), "params": {
        name: {"shape": list(t.shape), "values": packed(t), "grad": packed(t.grad)} for name, t in p.items()}}
    path = pathlib.Path(__file__).with_name(model.__name__ + ".json")
    path.write_text(json.dumps(golden, indent=1) + "\n")
