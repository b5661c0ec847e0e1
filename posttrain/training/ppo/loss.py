"""PPO's formulas, tensors in, tensors out. Knows no model, no tokenizer and no reward.

Shapes: `b` completions, `t` positions of the longest of them. A mask is True on the tokens that were really written,
the end-of-text token included; completions start at position 0, so a row's mask is ones, then zeros. What stands at
masked positions never counts.

| here | paper |
| --- | --- |
| `policy_loss` | PPO, arXiv 1707.06347, equation 7 |
| `advantages` | GAE, arXiv 1506.02438, equation 16 |
| `value_loss`, `token_rewards`, `whiten` | Ziegler et al., arXiv 1909.08593, and its code |
| `k1`, `k3` | Schulman, "Approximating KL divergence" (2020) |
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor, count: float | Tensor | None = None) -> Tensor:
    """Mean of `values` (b, t) where `mask` (b, t) holds; a scalar, 0 where nothing does.

    `count`: divide by this many tokens instead, those of a whole mini-batch of which this is a part; the parts' means
    then add up to the whole's.
    """
    total = torch.where(mask, values, 0).sum()
    return total / (mask.sum().clamp(min=1) if count is None else count)


def masked_variance(values: Tensor, mask: Tensor) -> Tensor:
    """Variance over the masked tokens, divided by n - 1 (Bessel); a scalar, 0 for fewer than two tokens."""
    count = mask.sum()
    squares = (values - masked_mean(values, mask)) ** 2
    return masked_mean(squares, mask) * count / (count - 1).clamp(min=1)


def whiten(values: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
    """(b, t) → (b, t) with variance 1 over the masked tokens, and mean 0 unless `shift_mean` is False; zeros elsewhere.

    Rewards keep their mean (Ziegler's code): shifting it would pay for every token written or not written.
    """
    mean = masked_mean(values, mask)
    scaled = (values - mean) * torch.rsqrt(masked_variance(values, mask) + 1e-8)
    return torch.where(mask, scaled if shift_mean else scaled + mean, 0)


def k1(log_probs: Tensor, reference: Tensor) -> Tensor:
    """log π(a) - log π_ref(a), (b, t): unbiased for the KL divergence a token, but of either sign."""
    return log_probs - reference


def k3(log_probs: Tensor, reference: Tensor) -> Tensor:
    """r - 1 - log r with r = π_ref(a) / π(a), (b, t): unbiased, never negative, of less variance: what is logged."""
    log_ratio = reference - log_probs
    return torch.expm1(log_ratio) - log_ratio


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, coefficient: float) -> Tensor:
    """(b, t): -coefficient × `kl` (b, t) on every token, and the completion's `scores` (b,) on its last one.

    A completion without a token gets nothing anywhere.
    """
    rewards = torch.where(mask, -coefficient * kl, 0)
    last = (mask.sum(dim=1) - 1).clamp(min=0)
    rows = torch.arange(len(scores), device=scores.device)
    return rewards.index_put((rows, last), torch.where(mask.any(dim=1), scores, 0), accumulate=True)


def advantages(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates, and returns, both (b, t), zeros where masked.

    δ_t = r_t + γ V_{t+1} - V_t;  A_t = δ_t + γλ A_{t+1};  R_t = A_t + V_t, with V and A 0 after the last token: a
    completion that was cut off counts as ended, since nothing after it is ever rewarded.
    """
    values, rewards = torch.where(mask, values, 0), torch.where(mask, rewards, 0)
    next_value = next_advantage = torch.zeros_like(values[:, 0])
    found = torch.zeros_like(values)
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        next_advantage = torch.where(mask[:, t], delta + gamma * lam * next_advantage, 0)
        next_value = values[:, t]
        found[:, t] = next_advantage
    return found, torch.where(mask, found + values, 0)


class PolicyLoss(NamedTuple):
    """`loss` has a gradient; the others are of the log. `clipped`: share of tokens where clipping made a difference.
    `approx_kl`: ½ (log ratio)², how far the policy has moved from the one that sampled, in nats a token."""

    loss: Tensor
    clipped: Tensor
    approx_kl: Tensor


def policy_loss(
    log_probs: Tensor,
    old: Tensor,
    advantage: Tensor,
    mask: Tensor,
    clip_range: float,
    count: float | Tensor | None = None,
) -> PolicyLoss:
    """-mean over tokens of min(ρA, clip(ρ, 1 - ε, 1 + ε) A), with ρ = exp(log_probs - old); all inputs (b, t).

    `count` as in `masked_mean`.
    """
    log_ratio = torch.where(mask, log_probs - old, 0)
    ratio = log_ratio.exp()
    free, held = -advantage * ratio, -advantage * ratio.clamp(1 - clip_range, 1 + clip_range)
    with torch.no_grad():
        clipped = masked_mean((held > free).float(), mask, count)
        approx_kl = masked_mean(0.5 * log_ratio**2, mask, count)
    return PolicyLoss(masked_mean(torch.maximum(free, held), mask, count), clipped, approx_kl)


class ValueLoss(NamedTuple):
    """`loss` has a gradient; `clipped` is the share of tokens where clipping made a difference."""

    loss: Tensor
    clipped: Tensor


def value_loss(
    values: Tensor,
    old: Tensor,
    returns: Tensor,
    mask: Tensor,
    clip_range: float,
    count: float | Tensor | None = None,
) -> ValueLoss:
    """½ mean over tokens of max((V - R)², (clip(V, V_old ± ε) - R)²); all inputs (b, t)."""
    held = torch.maximum(torch.minimum(values, old + clip_range), old - clip_range)
    free, clipped = (values - returns) ** 2, (held - returns) ** 2
    with torch.no_grad():
        share = masked_mean((clipped > free).float(), mask, count)
    return ValueLoss(0.5 * masked_mean(torch.maximum(free, clipped), mask, count), share)


def entropy(logits: Tensor) -> Tensor:
    """(…, vocabulary) → (…): -Σ p log p in nats; a logit of -inf is a token that cannot come."""
    log_probs = torch.log_softmax(logits, dim=-1)
    return -torch.where(log_probs == -torch.inf, 0, log_probs.exp() * log_probs).sum(dim=-1)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 - Var(R - V) / Var(R): 1 for a critic that knows, 0 for one that says a constant; below that it misleads.

    0 where all returns are alike and there is nothing to explain.
    """
    whole = masked_variance(returns, mask)
    left = masked_variance(returns - values, mask)
    return torch.where(whole > 1e-12, 1 - left / whole.clamp(min=1e-12), 0)
