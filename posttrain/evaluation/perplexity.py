"""How surprised a model is by general text: what domain training made it forget shows as a rise.

Only completion tokens count, each given its prompt and what came before. Knows nothing of scores or stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from posttrain.evaluation.generate import context_length, token_ids
from posttrain.progress import Progress, silent
from posttrain.prompts import messages


def surprise(
    model: Any, tokenizer: Any, rows: Sequence[Mapping[str, str]], *, batch_size: int = 64, progress: Progress = silent
) -> list[dict[str, Any]]:
    """For each row (`id`, `system`, `prompt`, `completion`): `negative_log_likelihood` (sum, nats) and `tokens`.

    The end-of-text token counts as the completion's last. Text past the model's context is cut off; rows whose
    prompt alone fills it are left out.
    """
    import torch

    context = context_length(model)
    encoded = [(row["id"], *_prompt_and_all(tokenizer, row)) for row in rows]
    usable = [(name, start, ids[:context]) for name, start, ids in encoded if start < min(context, len(ids))]
    usable.sort(key=lambda entry: (-len(entry[2]), entry[0]))
    # Logits are (batch, length, vocabulary) in float32: 512 MB at most, whatever the vocabulary.
    cells = 128_000_000 // model.config.get_text_config().vocab_size
    results: list[dict[str, Any]] = []
    with torch.inference_mode():
        at = 0
        while at < len(usable):
            progress(at, len(usable), "perplexity")
            size = max(1, min(batch_size, cells // len(usable[at][2])))
            results += _one_batch(model, usable[at : at + size])
            at += size
    progress(len(usable), len(usable), "perplexity")
    order = {row["id"]: place for place, row in enumerate(rows)}
    return sorted(results, key=lambda result: order[result["id"]])


def _prompt_and_all(tokenizer: Any, row: Mapping[str, str]) -> tuple[int, list[int]]:
    """Where the completion's tokens begin, and the whole row's tokens."""
    asked = token_ids(tokenizer, messages(row["system"], row["prompt"]))
    told = token_ids(tokenizer, messages(row["system"], row["prompt"], row["completion"]), ask=False)
    start = next((i for i, (a, b) in enumerate(zip(asked, told, strict=False)) if a != b), min(len(asked), len(told)))
    return max(1, start), told


def _one_batch(model: Any, batch: Sequence[tuple[str, int, list[int]]]) -> list[dict[str, Any]]:
    import torch

    width = max(len(ids) for _, _, ids in batch)
    ids = torch.tensor([row + [0] * (width - len(row)) for _, _, row in batch], device=model.device)
    lengths = torch.tensor([len(row) for _, _, row in batch], device=model.device)
    starts = torch.tensor([start for _, start, _ in batch], device=model.device)
    places = torch.arange(width, device=model.device)[None, :]
    # Padding stands on the right, where causal attention cannot see it.
    logits = model(input_ids=ids, attention_mask=(places < lengths[:, None]).long(), use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), ids[:, 1:], reduction="none")
    counted = (places >= starts[:, None]) & (places < lengths[:, None])
    sums = (losses.double() * counted[:, 1:]).sum(dim=1).tolist()
    tokens = counted[:, 1:].sum(dim=1).tolist()
    return [
        {"id": name, "negative_log_likelihood": total, "tokens": float(count)}
        for (name, _, _), total, count in zip(batch, sums, tokens, strict=True)
    ]
