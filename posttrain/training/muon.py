"""Muon: steps of even size in every direction of a weight matrix (arXiv 2502.16982); AdamW for all other weights.

The momentum of a matrix is replaced by the nearest matrix with orthonormal rows or columns, so that directions the
gradient rarely points in are learnt too. Worth about half the tokens where the base was pre-trained with Muon, and
little or worse where it was pre-trained with Adam (arXiv 2605.10468). `torch.optim.Muon` does the same for matrices
alone and always in bfloat16, which CPUs without such instructions emulate, six times slower. Knows no trainer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

MOMENTUM = 0.95
BETAS = (0.9, 0.98)
EPSILON = 1e-8
# The quintic of Newton and Schulz with the steepest start (Jordan 2024). He takes five steps; the embedded model was
# fine-tuned as well with three at twice the rate, which saves a tenth of the training time.
QUINTIC = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 3
# Makes a step as long as AdamW's usually is, so that AdamW's learning rates hold (2502.16982, section 2.2).
ADAMW_STEP = 0.2
# Embeddings, head, norms and biases take this share of the rate, as measured on the embedded model.
SHARE_OF_OTHERS = 0.5


class Muon(torch.optim.Optimizer):
    """Muon for `matrices` at rate `lr`, AdamW for `others` at half of it; decoupled weight decay, matrices only."""

    def __init__(
        self,
        matrices: Iterable[torch.nn.Parameter],
        others: Iterable[torch.nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
    ) -> None:
        groups = [
            {"params": list(matrices), "update": "muon", "weight_decay": weight_decay},
            {"params": list(others), "update": "adamw", "weight_decay": 0.0, "lr": lr * SHARE_OF_OTHERS},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._muon if group["update"] == "muon" else self._adamw
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update(weight), alpha=-group["lr"])
        return loss

    def _muon(self, weight: torch.nn.Parameter) -> torch.Tensor:
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        momentum: torch.Tensor = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return orthogonal(gradient.lerp(momentum, MOMENTUM)) * (ADAMW_STEP * math.sqrt(max(weight.shape)))

    def _adamw(self, weight: torch.nn.Parameter) -> torch.Tensor:
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        state["step"] += 1
        state["mean"].lerp_(gradient, 1 - BETAS[0])
        state["square"].lerp_(gradient.square(), 1 - BETAS[1])
        mean_share, square_share = (1 - beta ** float(state["step"]) for beta in BETAS)
        size = (state["square"] / square_share).sqrt_().add_(EPSILON)
        step: torch.Tensor = (state["mean"] / mean_share).div_(size)
        return step


def orthogonal(matrix: torch.Tensor, steps: int = NEWTON_SCHULZ_STEPS) -> torch.Tensor:
    """The matrix with its singular values brought near one; bfloat16 on a GPU, the matrix's own precision elsewhere.

    `matrix` is (rows, columns); so is the result.
    """
    a, b, c = QUINTIC
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    near = wide.to(torch.bfloat16) if wide.is_cuda else wide
    near = near / near.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = near @ near.T
        near = torch.addmm(near, torch.addmm(gram, gram, gram, beta=b, alpha=c), near, beta=a)
    return (near.T if wide is not matrix else near).to(matrix.dtype)


def of(model: torch.nn.Module, lr: float, weight_decay: float) -> Muon:
    """Muon for the model's linear layers; AdamW for embeddings, a head (tied or not), norms and biases."""
    head: Any = getattr(model, "get_output_embeddings", lambda: None)()
    spared = {id(weight) for weight in head.parameters()} if head is not None else set()
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    inner = {id(module.weight) for module in linear if module.weight.requires_grad} - spared
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return Muon(
        [weight for weight in weights if id(weight) in inner],
        [weight for weight in weights if id(weight) not in inner],
        lr,
        weight_decay,
    )
