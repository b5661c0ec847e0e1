"""Answers sampled from the policy, and what the update must know of them.

A draw depends on its prompt and its number in the training alone (`evaluation.drawing`), not on the batch that it is
in and on no random state, so that a resumed training samples what it would have sampled. Knows no rewards.

Sampling and training see different distributions, on purpose: answers are drawn after top-p and the repetition penalty,
while the log-probabilities in the ratio, in the KL penalty and in the entropy are the policy's own at the sampling
temperature. docs/reinforcement.md says why, and what it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from posttrain.evaluation.drawing import Draws
from posttrain.evaluation.stepping import Watch, own_settings, text_ends, up_to_blank_line
from posttrain.progress import Progress
from posttrain.prompts import PLAIN_TEMPLATE
from posttrain.training.ppo.actor import Actor, Batch


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn."""

    max_new_tokens: int
    temperature: float
    top_p: float
    repetition_penalty: float
    seed: int


@dataclass(frozen=True)
class Completion:
    """One drawn answer: its tokens with the end-of-text token if it came to it, its text, and whether it did."""

    ids: list[int]
    text: str
    ended: bool


@dataclass(frozen=True)
class Rollout:
    """Completions with what the policy that drew them, its critic and the reference say: (b, t) each."""

    batch: Batch
    log_probs: Tensor
    values: Tensor
    entropy: Tensor
    reference: Tensor


def draw(
    actor: Actor,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    first: int,
    sampling: Sampling,
    at_once: int,
    progress: Progress,
) -> list[Completion]:
    """An answer to each prompt; `first` is the number of the first among all that the training draws."""
    found: list[Completion] = []
    settings = {"do_sample": False, "max_new_tokens": sampling.max_new_tokens}
    with actor.sampling() as policy, torch.no_grad(), own_settings(policy, tokenizer, settings):
        for start in range(0, len(prompts), at_once):
            progress(start, len(prompts), "sampling")
            found += _one_batch(policy, tokenizer, prompts[start : start + at_once], first + start, sampling)
    return found


def _one_batch(
    policy: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], first: int, sampling: Sampling
) -> list[Completion]:
    width, pad = max(map(len, prompts)), tokenizer.pad_token_id or 0
    ids = torch.tensor([[pad] * (width - len(one)) + list(one) for one in prompts], device=policy.device)
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=policy.device)
    plain = tokenizer.chat_template == PLAIN_TEMPLATE
    out = policy.generate(
        input_ids=ids,
        attention_mask=mask,
        logits_processor=_processors(prompts, width, first, sampling, policy.device),
        stopping_criteria=[Watch(tokenizer, width, plain, lambda written: None)],
    )
    ends = set(text_ends(policy.generation_config, tokenizer) or [])
    return [_completion(row, ends, pad, plain, tokenizer) for row in out[:, width:].tolist()]


def _processors(prompts: Sequence[Sequence[int]], width: int, first: int, sampling: Sampling, device: Any) -> list[Any]:
    """As transformers samples (repetition, temperature, nucleus), then our draw in place of the global random state."""
    from transformers.generation.logits_process import (
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopPLogitsWarper,
    )

    found: list[Any] = []
    if sampling.repetition_penalty != 1:
        # What stands in the prompt may be copied: an extraction has to.
        found.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty, prompt_ignore_length=width))
    if sampling.temperature != 1:
        found.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_p < 1:
        found.append(TopPLogitsWarper(sampling.top_p))
    numbered = [(prompt, first + place) for place, prompt in enumerate(prompts)]
    return [*found, Draws(numbered, 1.0, sampling.seed, device)]


def _completion(row: list[int], ends: set[int], pad: int, plain: bool, tokenizer: Any) -> Completion:
    """A row of generate()'s, without what stands after its end; it keeps one token at least."""
    last = next((place for place, token in enumerate(row) if token in ends), None)
    ids = row[: last + 1] if last is not None else row[: row.index(pad, 1)] if pad in row[1:] else row
    text = tokenizer.decode(ids, skip_special_tokens=True)
    if plain:
        blank = "\n\n" in text.lstrip()
        return Completion(ids, up_to_blank_line(text), last is not None or blank)
    return Completion(ids, text, last is not None)


@torch.no_grad()
def read(
    actor: Actor, prompts: Sequence[Sequence[int]], completions: Sequence[Completion], pad: int, at_once: int
) -> Rollout:
    """What policy, critic and reference say of the completions, `at_once` rows at a time."""
    batch = Batch.of(prompts, [one.ids for one in completions], pad)
    width = batch.written.shape[1]
    device = next(actor.head.parameters()).device
    parts: list[list[Tensor]] = [[], [], [], []]
    for start in range(0, len(prompts), at_once):
        some = batch.rows(list(range(start, min(start + at_once, len(prompts))))).to(device)
        reading = actor(some, with_entropy=True)
        for part, found in zip(parts, (*reading, actor.reference_log_probs(some)), strict=True):
            part.append(torch.nn.functional.pad(found.cpu(), (0, width - found.shape[1])))
    log_probs, values, entropy, reference = (torch.cat(part) for part in parts)
    return Rollout(batch, log_probs, values, entropy, reference)
