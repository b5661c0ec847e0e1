"""Which tokens of a conversation's prompt are the assistant's own earlier answers, so that they are learnt too.

The prompt's tokens stay what evaluation sends. An answer counts where the chat template writes it as the model would
have to: after the same words that ask for an answer, and up to the token that ends it, if the template ends it alike in
the middle of a conversation. Knows the chat template; nothing of trainers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from posttrain.errors import SpecError
from posttrain.models.template import rendered
from posttrain.prompts import Message, asked
from posttrain.training.rows import Excluded

Span = tuple[int, int]


def marks(
    rows: Sequence[dict[str, Any]],
    prompts: Sequence[list[int]],
    tokenizer: Any,
    which: Literal["all", "last"] = "all",
) -> tuple[list[list[int]], list[Excluded]]:
    """For each token of each prompt 1 where it belongs to an earlier answer, else 0; and the answers left out.

    The last answer is no part of a prompt, so `which` "last" marks nothing. Raises: `SpecError` for a tokenizer that
    cannot say which text a token stands for.
    """
    found, left_out = [], []
    for row, ids in zip(rows, prompts, strict=True):
        turns = asked(row)
        answers = [at for at, turn in enumerate(turns) if turn["role"] == "assistant" and which == "all"]
        text = rendered(tokenizer, turns, ask=True) if answers else ""
        spans = {place: span(turns, place, text, tokenizer) for place in answers}
        found.append(_marked([each for each in spans.values() if each], text, ids, tokenizer))
        left_out += [_left_out(row, place, len(ids)) for place, each in spans.items() if each is None]
    return found, left_out


def span(turns: Sequence[Message], place: int, text: str, tokenizer: Any) -> Span | None:
    """Where in `text` (all turns, rendered) the answer at `place` and its end stand; None where the template writes it
    otherwise than it would be generated."""
    before = rendered(tokenizer, turns[:place], ask=True)
    content = turns[place]["content"]
    told = next((each for each in (content, content.strip()) if text.startswith(before + each)), None)
    if not told:
        return None
    ended = rendered(tokenizer, turns[: place + 1], ask=False).rstrip()
    end = len(before) + len(told)
    return len(before), max(end, len(ended)) if text.startswith(ended) else end


def _marked(spans: Sequence[Span], text: str, ids: list[int], tokenizer: Any) -> list[int]:
    if not spans:
        return [0] * len(ids)
    if not tokenizer.is_fast:
        raise SpecError(
            "sft.assistant_turns: found all, but the tokenizer cannot say which text a token stands for (no "
            "tokenizer.json); set sft.assistant_turns: last"
        )
    told = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return [int(any(start <= first < last <= end for start, end in spans)) for first, last in told]


def _left_out(row: dict[str, Any], place: int, tokens: int) -> Excluded:
    reason = f"turn {place + 1} is not learnt: the chat template writes it otherwise when it is not the last"
    return Excluded(str(row.get("id", "")), str(row.get("source", "")), tokens, reason)
