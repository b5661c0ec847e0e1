"""What the formats of all tools share: the order of outputs in a file, and an item from what a file says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from posttrain.errors import DataError
from posttrain.feedback.items import KINDS, ROW, Item, Kind, Output, shown_order
from posttrain.feedback.words import COLUMN, REJECTED, RULE

TOOL = "another tool"
"""Whose order of outputs a file has, and the source of outputs that are not known here."""
CONTEXT = (ROW, RULE, COLUMN, REJECTED)
"""Keys of an item's context that a file holds: what an answer is about, and nothing that tells who wrote it."""
VERDICTS = ("keep", "drop")


def outputs_of(item: Item) -> list[str]:
    """The texts in the file's order."""
    return [item.outputs[place].text for place in shown_order(item, TOOL)]


def to_file(ranking: Sequence[int], item: Item) -> list[int]:
    """Ranks in the item's order -> in the file's."""
    return [ranking[place] for place in shown_order(item, TOOL)]


def from_file(ranks: Sequence[int], item: Item) -> tuple[int, ...]:
    """Ranks in the file's order -> in the item's."""
    by_place = dict(zip(shown_order(item, TOOL), ranks, strict=True))
    return tuple(by_place[place] for place in range(len(item.outputs)))


def about(item: Item) -> dict[str, str]:
    """What a file says of an item beside its texts."""
    told = {"item": item.id, "kind": item.kind, "tag": item.tag, "reasons": "\n".join(item.reasons)}
    return told | {name: item.context[name] for name in CONTEXT if name in item.context}


def item_from(told: Mapping[str, Any], texts: Mapping[str, Any], questions: Sequence[str]) -> Item:
    """The item that a file tells of; one that was not written here is recognised by its fields and questions.

    Raises: DataError when there is no prompt or output.
    """
    outputs = [str(texts[name]) for name in sorted(filter(_is_output, texts), key=_number)]
    if not texts.get("prompt") or not outputs:
        raise DataError(
            f"found fields {', '.join(texts) or 'none'}, expected prompt and output_1 (output_2, …); rename the fields"
        )
    kind = str(told.get("kind") or _kind(outputs, questions))
    if kind not in KINDS:
        raise DataError(f"found kind {kind!r}, expected {', '.join(KINDS)}; correct it")
    context = {name: str(told[name]) for name in CONTEXT if told.get(name)}
    made = _item(kind, told, texts, outputs, context)
    if not told.get("item"):
        return made
    # The file's order is that of the item's id; put back, the same texts give the same id.
    order = shown_order(Item(str(told["item"]), kind, "", "", made.outputs), TOOL)
    own = [text for _, text in sorted(zip(order, outputs, strict=True))]
    return _item(kind, told, texts, own, context)


def _item(
    kind: Kind, told: Mapping[str, Any], texts: Mapping[str, Any], outputs: Sequence[str], context: Mapping[str, str]
) -> Item:
    reasons = [line for line in str(told.get("reasons") or "").split("\n") if line]
    return Item.new(
        kind,
        str(texts["prompt"]),
        system=str(texts.get("system") or ""),
        outputs=[Output(text, TOOL) for text in outputs],
        tag=str(told.get("tag") or ""),
        reasons=reasons,
        context=context,
    )


def _is_output(name: str) -> bool:
    return bool(re.fullmatch(r"(output|response|completion|answer)([_-]?\d+)?", name))


def _number(name: str) -> int:
    return int(re.sub(r"\D", "", name) or 0)


def _kind(outputs: Sequence[str], questions: Sequence[str]) -> Kind:
    if len(outputs) > 1:
        return "ranking"
    return "rating" if "rating" in questions else "correction" if "correction" in questions else "harm"
