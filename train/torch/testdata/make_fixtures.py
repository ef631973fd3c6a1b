"""Writes the files of PyTorch 1.13 (Debian's python3-torch) that the tests read, in the folder that it runs in.

torch.json holds what the .pt files must be read as: for each the iteration, the model's tensors and the optimizer's
state, as [type, shape, values].
"""

import json
import math

import torch
from torch import nn


class AdamW(torch.optim.Optimizer):
    """The optimizer of the commissioning document."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            lr, (beta1, beta2) = group["lr"], group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if len(state) == 0:
                    state["step"] = 0
                    state["exp_avg"] = torch.zeros_like(p.data)
                    state["exp_avg_sq"] = torch.zeros_like(p.data)
                state["step"] += 1
                t = state["step"]
                state["exp_avg"].mul_(beta1).add_(p.grad, alpha=1 - beta1)
                state["exp_avg_sq"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                step_size = lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
                denom = state["exp_avg_sq"].sqrt().add_(group["eps"])
                p.data.addcdiv_(state["exp_avg"], denom, value=-step_size)
                p.data.add_(p.data, alpha=-lr * group["weight_decay"])

def save_checkpoint(model, optimizer, iteration, out_path, **kwargs):
    """The document's function."""
    payload = {
        "model_state": model.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "iteration": iteration,
    }
    torch.save(payload, out_path, **kwargs)
    return payload

class Model(nn.Module):
    """Tied weights (head and embed) and a parameter that no loss depends on."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.unused = nn.Parameter(torch.ones(2))
        self.proj = nn.Linear(4, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.proj(self.embed(ids)))

kinds = {
    torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64",
    torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL",
}

def plain(t):
    values = t.detach().reshape(-1).to(torch.float64 if t.is_floating_point() else torch.int64).tolist()
    return [kinds[t.dtype], list(t.shape), values]

def describe(payload):
    optimizer = payload["optimizer_state"]
    return {
        "iteration": payload["iteration"],
        "model": {name: plain(t) for name, t in payload["model_state"].items()},
        "state": {
            str(i): {"step": int(s["step"]), "m": plain(s["exp_avg"]), "v": plain(s["exp_avg_sq"])}
            for i, s in optimizer["state"].items()
        },
        "groups": [
            [g["params"], g["lr"], list(g["betas"]), g["eps"], g["weight_decay"]] for g in optimizer["param_groups"]
        ],
    }

def train(make, name, **kwargs):
    torch.manual_seed(1)
    model = Model()
    optimizer = make(model)
    for _ in range(3):
        optimizer.zero_grad()
        ids = torch.randint(0, 5, (7,))
        nn.functional.cross_entropy(model(ids), ids.roll(1)).backward()
        optimizer.step()
    return describe(save_checkpoint(model, optimizer, 3, name, **kwargs))

hyper = dict(lr=3e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
golden = {
    "torch_adamw.pt": train(lambda m: torch.optim.AdamW(m.parameters(), **hyper), "torch_adamw.pt"),
    "document_adamw.pt": train(lambda m: AdamW(m.parameters(), **hyper), "document_adamw.pt"),
    "protocol4.pt": train(lambda m: AdamW(m.parameters(), **hyper), "protocol4.pt", pickle_protocol=4),
    "protocol5.pt": train(lambda m: AdamW(m.parameters(), **hyper), "protocol5.pt", pickle_protocol=5),
}
two_groups = lambda m: AdamW(
    [{"params": [m.embed.weight, m.proj.weight, m.unused]}, {"params": [m.proj.bias], "weight_decay": 0.0}], **hyper
)
golden["groups.pt"] = train(two_groups, "groups.pt")

base = torch.arange(24, dtype=torch.float32)
weights = {
    "whole": base,
    "slice": base[5:9],
    "transposed": base.view(4, 6).t(),
    "permuted": base.view(2, 3, 4).permute(2, 0, 1),
    "column": base.view(4, 6)[:, 2],
    "block": base.view(4, 6)[1:3, 1:4],
    "f16": torch.tensor([[1.5, -2.0], [65504.0, 6e-8]], dtype=torch.float16).t(),
    "bf16": torch.tensor([1.0, -3.25, 1e38], dtype=torch.bfloat16),
    "f64": torch.tensor([math.pi], dtype=torch.float64),
    "i64": torch.tensor([[1, -1, 1 << 40]]),
    "i32": torch.tensor([7, -8], dtype=torch.int32),
    "u8": torch.tensor([0, 255], dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "parameter": nn.Parameter(torch.tensor([4.0, 5.0])),
}
payload = {"model_state": weights, "optimizer_state": {"state": {}, "param_groups": []}, "iteration": 1 << 40}
torch.save(payload, "tensors.pt")
golden["tensors.pt"] = describe(payload)

torch.save({**payload, "model_state": {"x": torch.zeros(1).expand(1 << 30)}}, "expanded.pt")
torch.save({"model_state": {"x": base}, "optimizer_state": {}, "iteration": 0}, "legacy.pt", _use_new_zipfile_serialization=False)
json.dump(golden, open("torch.json", "w"), separators=(",", ":"))
