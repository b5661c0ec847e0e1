"""What people are asked about: a prompt, one or more outputs for it, and the kind of question.

Knows nothing of where items come from or where they are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from posttrain.artifacts import digest
from posttrain.errors import DataError

Kind = Literal["ranking", "rating", "correction", "harm", "fact"]
KINDS: tuple[Kind, ...] = get_args(Kind)

ROW = "row"
"""The key of `Item.context` that names the row of the spec's data that the question is about, if it is about one."""


@dataclass(frozen=True)
class Output:
    """A completion and where it comes from: a model's name and version. An annotator is never shown the source."""

    text: str
    source: str


@dataclass(frozen=True)
class Item:
    """One question to people.

    `reasons` say why it is asked, to those who are asked; `context` is for programs. Make it by `new`.
    """

    id: str
    kind: Kind
    prompt: str
    system: str
    outputs: tuple[Output, ...]
    tag: str = ""
    reasons: tuple[str, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def new(
        cls,
        kind: Kind,
        prompt: str,
        *,
        outputs: Iterable[Output],
        system: str = "",
        tag: str = "",
        reasons: Iterable[str] = (),
        context: Mapping[str, str] | None = None,
    ) -> Item:
        """An item whose id is the digest of what is asked: the same texts are the same question, whoever wrote them.

        Raises: DataError for an unknown kind, a ranking of fewer than two outputs, and another kind of more than one.
        """
        given = tuple(Output(_whole(output.text), output.source) for output in outputs)
        prompt, system, found = _whole(prompt), _whole(system), dict(context or {})
        if kind not in KINDS:
            raise DataError(f"item: found kind {kind!r}, expected {', '.join(KINDS)}; name one of them")
        if kind == "ranking" and len(given) < 2:
            raise DataError(f"item: found {len(given)} outputs to rank, expected two or more; ask for a rating instead")
        if kind != "ranking" and len(given) != 1:
            raise DataError(
                f"item: found {len(given)} outputs, expected one for kind {kind}; ask for a ranking instead"
            )
        asked = [kind, system, prompt, [output.text for output in given], found.get(ROW, "")]
        return cls(digest(asked), kind, prompt, system, given, tag, tuple(reasons), found)


def _whole(text: str) -> str:
    """The text as UTF-8 can hold it: half an emoji, which a model can write, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def shown_order(item: Item, annotator: str) -> tuple[int, ...]:
    """The places of the outputs in the order in which this annotator sees them.

    The same for the same person, whenever they look, and as good as random over people and items, so that neither a
    place on the screen nor a colleague's word tells which model wrote what.
    """

    def drawn(place: int) -> bytes:
        return hashlib.sha256(f"{item.id}\0{annotator}\0{place}".encode()).digest()

    return tuple(sorted(range(len(item.outputs)), key=drawn))
