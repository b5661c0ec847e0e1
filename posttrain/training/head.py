"""Scoring completions on a CPU: project only the positions that the loss reads.

TRL 1.16 scores every position of every row where it has no Triton, accumulating gradients in float32; prompts and
padding are most of the positions. The numbers are the same. Knows nothing of losses: it returns log-probabilities.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import torch

# Above this many logits at once (float32: 256 MB) TRL's own tiled scoring saves memory.
MOST_LOGITS = 64_000_000
# Configurations that transform the logits after the projection: left to TRL.
TRANSFORMED = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
    "router_aux_loss_coef",
)
PATCHED = "_scores_completions_only"


def score_completions_only(model: Any) -> None:
    """Patch a model that TRL has given its fused head (`model(..., labels=, fused_lm_head=True)`); once is enough.

    Its output keeps TRL's fields; `entropy` and `mean_logits`, which only feed logs, are zero.
    """
    model = model.get_base_model() if hasattr(model, "peft_config") else model
    if model.get_output_embeddings() is None:
        return  # a classifier scores no tokens
    config = model.config.get_text_config()
    if hasattr(model, PATCHED) or any(getattr(config, name, None) is not None for name in TRANSFORMED):
        return
    setattr(model, PATCHED, True)
    of_trl = model.forward

    @functools.wraps(type(model).forward)
    def forward(
        self: Any,
        *args: Any,
        fused_lm_head: bool = False,
        labels: Any = None,
        **kwargs: Any,
    ) -> Any:
        small = labels is not None and int((labels != -100).sum()) * config.vocab_size <= MOST_LOGITS
        if not (fused_lm_head and small and self.device.type == "cpu" and kwargs.get("shift_labels") is None):
            return of_trl(*args, fused_lm_head=fused_lm_head, labels=labels, **kwargs)
        kwargs.pop("num_items_in_batch", None)
        kwargs["use_cache"] = False
        hidden = self.base_model(*args, **kwargs).last_hidden_state[:, :-1]
        return _score(hidden, labels[:, 1:], self.get_output_embeddings())

    model.forward = types.MethodType(forward, model)


def _score(hidden: torch.Tensor, targets: torch.Tensor, project: Any) -> Any:
    """Log-probability of each target; `hidden` is (batch, length, width), `targets` (batch, length), -100 unread."""
    from trl.trainer.utils import FusedCausalLMOutput

    mask = targets != -100
    positions = mask.flatten().nonzero().flatten()
    logits = project(hidden.flatten(0, 1).index_select(0, positions)).float()
    wanted = targets.flatten()[positions]
    read = -torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
    nothing = torch.zeros(mask.numel(), dtype=torch.float32, device=hidden.device)
    log_probs = nothing.index_copy(0, positions, read).view(mask.shape)
    top = torch.zeros_like(nothing, dtype=torch.bool)
    top[positions] = logits.detach().argmax(dim=-1) == wanted
    zeros = nothing.view(mask.shape)
    return FusedCausalLMOutput(
        loss=-log_probs.sum() / mask.sum().clamp(min=1),
        log_probs=log_probs,
        entropy=zeros,
        mean_logits=zeros,
        is_top1=top.view(mask.shape),
        label_mask=mask,
    )
