"""The models of tools/bench as PyTorch has them: what differs between GPT-2, Llama and the presets is in the structure, a dict."""

import torch
import torch.nn.functional as F


def rms_norm(x, weight):
    return F.rms_norm(x, x.shape[-1:], weight, 1e-5)  # of PyTorch 2.4


def layer_norm(x, weight, bias):
    return F.layer_norm(x, x.shape[-1:], weight, bias, 1e-5)


def swiglu(gate, up):
    return F.silu(gate) * up


def angles(t, size, x):
    a = torch.arange(t, device=x.device)[:, None] / 1e4 ** (torch.arange(0, size, 2, device=x.device) / size)
    return a.cos()[:, None].to(x.dtype), a.sin()[:, None].to(x.dtype)


def rope(x, cos, sin, half):
    a, c = x.chunk(2, -1) if half else (x[..., 0::2], x[..., 1::2])
    turned = a * cos - c * sin, c * cos + a * sin
    return torch.cat(turned, -1) if half else torch.stack(turned, -1).flatten(-2)


def repeated(x, heads):
    """Keys or values (batch, heads, ...) with each head as often as queries share it."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], 1)


class Norm(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(c["width"]))
        self.bias = torch.nn.Parameter(torch.zeros(c["width"])) if c["norm"] == "layernorm" else None

    def forward(self, x):
        return rms_norm(x, self.weight) if self.bias is None else layer_norm(x, self.weight, self.bias)


class Block(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, d, bias = c, c["width"], c["bias"]
        self.kv = c["kv_heads"] or c["heads"]
        self.size = c["head_size"] or d // c["heads"]
        self.norms = torch.nn.ModuleList(Norm(c) for _ in range(2))
        self.qkv = torch.nn.Linear(d, (c["heads"] + 2 * self.kv) * self.size, bias=bias)
        self.out = torch.nn.Linear(c["heads"] * self.size, d, bias=bias)
        gates = 2 if c["activation"] == "swiglu" else 1
        self.up, self.down = torch.nn.Linear(d, gates * c["ffn"], bias=bias), torch.nn.Linear(c["ffn"], d, bias=bias)

    def forward(self, x, turn):
        c, (b, t, _) = self.c, x.shape
        heads = self.qkv(self.norms[0](x)).view(b, t, -1, self.size)
        q, k, v = heads.split((c["heads"], self.kv, self.kv), 2)
        if c["positions"] != "learned":
            q, k = (rope(y, *turn, c["positions"] == "rope_half") for y in (q, k))
        q, k, v = q.transpose(1, 2), repeated(k.transpose(1, 2), c["heads"]), repeated(v.transpose(1, 2), c["heads"])
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, -1))
        h = self.up(self.norms[1](x))
        if c["activation"] == "swiglu":
            return x + self.down(swiglu(*h.chunk(2, -1)))
        return x + self.down(F.silu(h) if c["activation"] == "silu" else F.gelu(h, approximate="tanh" if "tanh" in c["activation"] else "none"))


class Transformer(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.tokens = torch.nn.Embedding(c["vocab"], c["width"])
        self.positions = torch.nn.Embedding(c["max_context"], c["width"]) if c["positions"] == "learned" else None
        self.blocks = torch.nn.ModuleList(Block(c) for _ in range(c["layers"]))
        self.norm = Norm(c)
        self.head = torch.nn.Linear(c["width"], c["vocab"], bias=False)
        if c["tied"]:
            self.head.weight = self.tokens.weight
        torch.nn.init.normal_(self.tokens.weight, std=0.02)

    def loss(self, h, y):
        logits = self.head(self.norm(h))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), y.view(-1))

    def forward(self, x, y):
        h = self.tokens(x)
        if self.positions is not None:
            h = h + self.positions.weight[: x.shape[1]]
        turn = angles(x.shape[1], self.blocks[0].size, h)
        for block in self.blocks:
            h = block(h, turn)
        return self.loss(h, y)
