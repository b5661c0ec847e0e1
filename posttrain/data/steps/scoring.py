"""Two models read rows: a causal language model says how surprising an answer is, a classifier how good.

Rows of like length go together, always `BATCH` at a time and padded to a multiple of `STEP` tokens: the same shapes
give the same bits, in whatever company a row comes. Knows nothing of thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posttrain.data.embedding.pretrained import loaded, read_json
from posttrain.errors import ModelError
from posttrain.prompts import PLAIN_TEMPLATE, messages

Asked = tuple[str, str, str]
"""System message, prompt, answer."""

BATCH = 8
STEP = 16


def perplexities(folder: Path, rows: Sequence[Asked], max_tokens: int) -> np.ndarray:
    """(mean negative log-likelihood in nats, tokens counted) of each answer given its prompt; float32, shape (rows, 2).

    Only the answer's tokens count, as in training (S3); the end-of-text token is one of them. Of a row longer than
    `max_tokens`, or than the model's context, the prompt loses its beginning, down to half of the room; then the answer
    its end. An answer without tokens has (0, 0). Raises: `ModelError`.
    """
    import torch

    tokenizer, model = loaded(folder, "AutoModelForCausalLM")
    limit = min(max_tokens, _context(model))
    encoded = [_cut(*_prompt_and_answer(tokenizer, row), limit) for row in rows]

    def batch(ids: Any, mask: Any, places: Sequence[int]) -> Any:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        counted = torch.zeros(logits.shape[:2], dtype=torch.bool, device=ids.device)
        for row, place in enumerate(places):
            start, whole = encoded[place]
            counted[row, start - 1 : len(whole) - 1] = True
        losses = torch.zeros(logits.shape[:2], dtype=torch.float64, device=ids.device)
        found = torch.nn.functional.cross_entropy(logits[counted].float(), ids[:, 1:][counted], reduction="none")
        losses[counted] = found.double()
        tokens = counted.sum(dim=1)
        return torch.stack((losses.sum(dim=1) / tokens.clamp(min=1), tokens), dim=1)

    return _batched([whole for _, whole in encoded], model.device, batch)


def rewards(folder: Path, rows: Sequence[Asked], max_tokens: int) -> np.ndarray:
    """(score, tokens read) of each answer, float32, shape (rows, 2). Raises: `ModelError`.

    A model with a chat template is shown the conversation, any other the prompt and the answer as a pair of texts.
    """
    check_scores(folder)
    tokenizer, model = loaded(folder, "AutoModelForSequenceClassification")
    limit = min(max_tokens, _context(model))
    encoded = [conversation(tokenizer, row)[-limit:] for row in rows]
    padding = _padding(tokenizer, model)

    def batch(ids: Any, mask: Any, places: Sequence[int]) -> Any:
        import torch

        scores = model(input_ids=ids, attention_mask=mask).logits[:, 0].float()
        return torch.stack((scores, mask.sum(dim=1)), dim=1)

    return _batched(encoded, model.device, batch, padding)


def _batched(
    rows: Sequence[list[int]], device: Any, function: Callable[[Any, Any, Sequence[int]], Any], padding: int = 0
) -> np.ndarray:
    """What `function` says of each row of tokens (two numbers); it gets ids, mask and the rows' places."""
    import torch

    found = np.zeros((len(rows), 2), np.float32)
    widths = np.array([-(-max(2, len(row)) // STEP) * STEP for row in rows])
    for width in np.unique(widths):
        same = np.flatnonzero(widths == width)
        for start in range(0, len(same), BATCH):
            places = same[start : start + BATCH].tolist()
            ids, mask = (torch.full((BATCH, int(width)), fill, dtype=torch.long) for fill in (padding, 0))
            mask[len(places) :, 0] = 1
            for line, place in enumerate(places):
                ids[line, : len(rows[place])] = torch.tensor(rows[place])
                mask[line, : len(rows[place])] = 1
            with torch.inference_mode():
                said = function(ids.to(device), mask.to(device), places)
            found[places] = said[: len(places)].float().cpu().numpy()
    return found


def _prompt_and_answer(tokenizer: Any, row: Asked) -> tuple[int, list[int]]:
    """Where the answer's tokens begin, and the whole row's tokens."""
    system, prompt, answer = row
    asked = _rendered(tokenizer, messages(system, prompt), ask=True)
    told = _rendered(tokenizer, messages(system, prompt, answer), ask=False)
    pairs = enumerate(zip(asked, told, strict=False))
    start = next((place for place, (one, other) in pairs if one != other), min(len(asked), len(told)))
    return max(1, start), told


def _rendered(tokenizer: Any, conversation: Any, ask: bool) -> list[int]:
    template = tokenizer.chat_template or PLAIN_TEMPLATE
    text = tokenizer.apply_chat_template(
        conversation, chat_template=template, tokenize=False, add_generation_prompt=ask
    )
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _cut(start: int, ids: list[int], limit: int) -> tuple[int, list[int]]:
    """Where the answer begins, and the tokens, of a row cut to `limit`; the first token stays: it may begin a text."""
    over = max(0, len(ids) - limit)
    gone = min(over, max(0, start - limit // 2))
    return start - gone, [*ids[:1], *ids[1 + gone :]][:limit]


def conversation(tokenizer: Any, row: Asked) -> list[int]:
    """The tokens of a prompt and its answer, as a reward model reads them in training and ever after."""
    system, prompt, answer = row
    if tokenizer.chat_template:
        return _rendered(tokenizer, messages(system, prompt, answer), ask=False)
    asked = f"{system}\n\n{prompt}" if system else prompt
    return list(tokenizer(asked, answer, verbose=False)["input_ids"])


def check_scores(folder: Path, key: str = "curate.scores.reward") -> None:
    """Refuse a model that has no score of its own: transformers would invent one at random.

    `key` is the setting that names the model. Raises: `ModelError`.
    """
    config = read_json(folder / "config.json")
    kind = "".join(config.get("architectures") or ["no architecture"])
    if not kind.endswith("ForSequenceClassification"):
        raise ModelError(f"{folder}: is {kind}, not a sequence classifier; {key} takes a reward model")
    labels = len(config.get("id2label") or {"0": "", "1": ""})
    if labels != 1:
        raise ModelError(f"{folder}: has {labels} labels, expected one score; choose a reward model")


def _padding(tokenizer: Any, model: Any) -> int:
    """The token that fills up batches. Decoders find an answer's end by it, so it must be the one they know."""
    known = model.config.get_text_config().pad_token_id
    if known is None:
        known = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        model.config.get_text_config().pad_token_id = model.config.pad_token_id = known
    return int(known)


def _context(model: Any) -> int:
    config = model.config.get_text_config()
    return int(getattr(config, "max_position_embeddings", None) or 1_000_000)
