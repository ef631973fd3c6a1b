"""The functions of the training notebook that Lemnos replaces, as it has them."""

import math

import torch


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
