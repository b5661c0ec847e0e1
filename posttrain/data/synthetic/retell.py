"""A row told in another way: with its own id, its parent's, and its messages, if it has any, in step with the rest.

Knows nothing of why a row is told again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from posttrain.artifacts import digest
from posttrain.data.rows import Row
from posttrain.prompts import Message

AUGMENTED = "augmented"


def retold(row: Mapping[str, str], how: str, system: str, completion: str) -> Row:
    """The row under another system message and with another completion. `how` names the way, for its id and column."""
    turns = turns_of(row)
    if turns:
        first = [{"role": "system", "content": system}] if system else []
        turns = [*first, *(turn for turn in turns[:-1] if turn["role"] != "system"), _said("assistant", completion)]
    return _made({**row, "system": system, "completion": completion, "messages": _json(turns)}, row, how)


def as_dialog(row: Mapping[str, str], how: str, before: Sequence[Message]) -> Row:
    """The row at the end of a longer dialog: `before` are all turns up to its own question, which is the last."""
    turns = [*before, _said("assistant", row["completion"])]
    return _made({**row, "prompt": flat(before), "messages": _json(turns)}, row, how)


def turns_of(row: Mapping[str, str]) -> list[Message]:
    """The row's conversation up to its last assistant turn; [] for a row of prompt and completion."""
    turns: list[Message] = json.loads(row["messages"]) if row.get("messages") else []
    while turns and turns[-1]["role"] != "assistant":
        turns.pop()
    return turns


def is_single(row: Mapping[str, str]) -> bool:
    """Whether the row is one question and one answer."""
    return sum(turn["role"] != "system" for turn in turns_of(row)) in (0, 2)


def flat(turns: Sequence[Message]) -> str:
    """Several turns as one text, the system message left out; a single one as it is."""
    said = [turn for turn in turns if turn["role"] != "system"]
    if len(said) == 1:
        return said[0]["content"]
    return "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in said)


def _made(row: Row, parent: Mapping[str, str], how: str) -> Row:
    name = digest([parent["id"], how, row["system"], row["prompt"], row["completion"]])
    return {**row, "id": name, "origin": AUGMENTED, "parent": parent["id"], "retold": how}


def _said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _json(turns: Sequence[Message]) -> str:
    return json.dumps(list(turns), ensure_ascii=False) if turns else ""
