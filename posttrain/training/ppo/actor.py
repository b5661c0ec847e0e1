"""Policy, critic and reference on one copy of the base.

| | with LoRA | full fine-tuning |
| --- | --- | --- |
| policy | the base with the new adapter | the model |
| reference | the adapter switched off: SFT's adapter was merged before, so that is SFT's model | a frozen copy |
| critic | a linear head on the policy's last hidden states | the same |

The critic's head reads the hidden states without sending a gradient back into them: its targets are noisy and its loss
is large at first, and a policy that is held to so small a rate should spend its clipped gradient on the policy's loss.
Knows no rewards and no optimizer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from posttrain.training.ppo import loss


@dataclass(frozen=True)
class Batch:
    """Prompts padded on the left, completions on the right: all completions begin in one column.

    `ids` and `mask` are (b, p + t), `written` (b, t) is True on a completion's own tokens.
    """

    ids: Tensor
    mask: Tensor
    written: Tensor

    @classmethod
    def of(cls, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], pad: int) -> Batch:
        """From lists of token ids; every completion has a token at least."""
        p, t = max(map(len, prompts)), max(map(len, completions))
        pairs = list(zip(prompts, completions, strict=True))
        ids = [[pad] * (p - len(one)) + [*one, *other] + [pad] * (t - len(other)) for one, other in pairs]
        mask = [[0] * (p - len(one)) + [1] * (len(one) + len(other)) + [0] * (t - len(other)) for one, other in pairs]
        written = [[True] * len(other) + [False] * (t - len(other)) for _, other in pairs]
        return cls(torch.tensor(ids), torch.tensor(mask), torch.tensor(written))

    @property
    def completion_ids(self) -> Tensor:
        """(b, t)."""
        return self.ids[:, -self.written.shape[1] :]

    def rows(self, which: Sequence[int] | Tensor) -> Batch:
        """Some of the rows, with no more padding than they need."""
        ids, mask, written = self.ids[which], self.mask[which], self.written[which]
        width = self.written.shape[1]
        first = int(mask.argmax(dim=1).min())
        spare = width - int(written.sum(dim=1).max())
        last = ids.shape[1] - spare
        return Batch(ids[:, first:last], mask[:, first:last], written[:, : width - spare])

    def to(self, device: Any) -> Batch:
        """The same on a device."""
        return Batch(self.ids.to(device), self.mask.to(device), self.written.to(device))


class Reading(NamedTuple):
    """What a model says of completions, each (b, t): log-probability of every token, the critic's value before it, and
    the entropy of the choice in nats (zeros unless asked for)."""

    log_probs: Tensor
    values: Tensor
    entropy: Tensor


class Actor(nn.Module):
    """`policy` is a causal language model, or a PEFT model whose only adapter is the policy's; `reference` is its
    frozen copy, needed without an adapter only. Log-probabilities are those of the softmax at `temperature`."""

    def __init__(self, policy: Any, reference: Any, temperature: float) -> None:
        super().__init__()
        self.policy = policy
        self.temperature = temperature
        width = policy.config.get_text_config().hidden_size
        self.head = nn.Linear(width, 1, device=policy.device, dtype=torch.float32)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        # In a list, or it would count as a part of this module, be trained and be saved.
        self._reference = [reference] if reference is not None else []

    @property
    def trained(self) -> list[nn.Parameter]:
        """The policy's weights that have a gradient, without the critic's."""
        return [weight for weight in self.policy.parameters() if weight.requires_grad]

    def forward(self, batch: Batch, with_entropy: bool = False) -> Reading:
        """Read completions with the policy and the critic; gradients flow unless the caller forbids them."""
        return self._read(self.policy, batch, with_entropy)

    @torch.no_grad()
    def reference_log_probs(self, batch: Batch) -> Tensor:
        """(b, t) log-probabilities of the model as it was before."""
        if self._reference:
            return self._read(self._reference[0], batch, False).log_probs
        with self.policy.disable_adapter():
            return self._read(self.policy, batch, False).log_probs

    def _read(self, model: Any, batch: Batch, with_entropy: bool) -> Reading:
        width = batch.written.shape[1]
        out = model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            position_ids=(batch.mask.cumsum(dim=1) - 1).clamp(min=0),
            logits_to_keep=width + 1,
            output_hidden_states=True,
            use_cache=False,
        )
        # The logits before a token are about it, so the last position's say nothing here.
        logits = out.logits[:, :-1].float() / self.temperature
        hidden = out.hidden_states[-1][:, -width - 1 : -1].detach().float()
        with torch.autocast(logits.device.type, enabled=False):
            chosen = logits.gather(2, batch.completion_ids[..., None])[..., 0]
            log_probs = chosen - logits.logsumexp(dim=-1)
            # Divided by the width, a step of Adam moves a value by no more than about the rate, in models of any size.
            values = self.head(hidden / hidden.shape[-1])[..., 0]
        with torch.no_grad():
            entropy = loss.entropy(logits) if with_entropy else torch.zeros_like(log_probs)
        return Reading(log_probs, values, entropy)

    @contextlib.contextmanager
    def sampling(self) -> Iterator[Any]:
        """The policy in evaluation mode for a while, as generation wants it; the adapter lies in the base's layers."""
        was = self.policy.training
        self.policy.eval()
        try:
            yield self.policy.get_base_model() if hasattr(self.policy, "peft_config") else self.policy
        finally:
            self.policy.train(was)
