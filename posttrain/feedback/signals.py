"""What speaks against a served answer: people's words, the answer's own form, the model's doubt, and the guards.

Pure: requests in, reasons out. A signal says that a person should look, not that the answer is wrong.

| signal | weight | the request |
| --- | --- | --- |
| correction | 4 | its user said what the answer should have been |
| harm | 4 | has clear words of the harm lists in the answer, prose only |
| personal_data | 4 | has a secret or a personal datum in the answer that its prompt does not have |
| thumbs_down | 3 | was disliked |
| parse_failure | 3 | was answered with something that is no answer of the task's kind |
| cut_off | 2 | was answered up to the last token allowed |
| gate_loss | 1 | is a held-out row that the champion or the challenger got wrong |
| low_confidence | 1 | was answered with less confidence than nearly all others |

Knows nothing of where requests are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

from posttrain.data.steps.harm import Harm
from posttrain.data.text.privacy import KINDS, personal_data, secrets
from posttrain.evaluation.metrics import JSON_KINDS, METRICS, Answer
from posttrain.tracking.traces import ServedRequest

Signal = Literal[
    "correction", "harm", "personal_data", "thumbs_down", "parse_failure", "cut_off", "gate_loss", "low_confidence"
]
SIGNALS: tuple[Signal, ...] = get_args(Signal)
WEIGHTS: Mapping[Signal, float] = {
    "correction": 4,
    "harm": 4,
    "personal_data": 4,
    "thumbs_down": 3,
    "parse_failure": 3,
    "cut_off": 2,
    "gate_loss": 1,
    "low_confidence": 1,
}
"""How much a signal says (this project): people more than form, form more than doubt."""
FEWEST_SURE = 20
"""Answers with a known confidence below which none is called unsure: the lowest of a few is just the lowest."""
_BRACKETS = re.compile(r"\[([^\[\]]+)\]")


@dataclass(frozen=True)
class Watch:
    """What the task wants of an answer, and the guards."""

    kind: str
    harm: Harm | None = None
    least_confident: float = 0.05


def signals(requests: Sequence[ServedRequest], watch: Watch) -> list[tuple[Signal, ...]]:
    """What speaks against each request's answer, the weightiest first; empty for most."""
    unsure = _unsure(requests, watch.least_confident)
    harmful = _harmful(requests, watch.harm)
    checks: dict[Signal, Callable[[ServedRequest], bool]] = {
        "correction": _is_corrected,
        "harm": lambda request: request.id in harmful,
        "personal_data": lambda request: bool(told_in_confidence(request.output, asked(request))),
        "thumbs_down": lambda request: request.thumb == "down",
        "parse_failure": lambda request: not _is_readable(request, watch.kind),
        "cut_off": lambda request: request.finish_reason == "length",
        "low_confidence": lambda request: request.id in unsure,
    }
    return [tuple(name for name, holds in checks.items() if holds(request)) for request in requests]


def asked(request: ServedRequest) -> str:
    """The last thing that the user said; "" when nobody did."""
    said = (turn.get("content", "") for turn in reversed(request.messages) if turn.get("role") == "user")
    return next(said, "")


def told(request: ServedRequest) -> str:
    """The system message; "" without one."""
    return next((turn.get("content", "") for turn in request.messages if turn.get("role") == "system"), "")


def told_in_confidence(output: str, prompt: str) -> list[str]:
    """Kinds of secrets and personal data in an output that are not repeated from its prompt.

    Traces are masked, so that most of what is found is a kind in brackets.
    """
    kinds = [
        one.kind for one in (*secrets(output), *personal_data(output)) if output[one.start : one.stop] not in prompt
    ]
    return kinds + [kind for kind in _BRACKETS.findall(output) if kind in KINDS and f"[{kind}]" not in prompt]


def _is_corrected(request: ServedRequest) -> bool:
    return bool(request.correction) and (request.correction or "").strip() != request.output.strip()


def _is_readable(request: ServedRequest, kind: str) -> bool:
    if request.parsed is False or not request.output.strip():
        return False
    if kind not in JSON_KINDS:
        return True
    valid = METRICS["valid_json"]
    return valid.value(valid.cells([Answer(kind, "", request.output)])) == 1.0


def _unsure(requests: Sequence[ServedRequest], share: float) -> Collection[str]:
    """Ids of the answers of the lowest confidence; of equal ones those with the smaller id."""
    known = sorted((request.confidence, request.id) for request in requests if request.confidence is not None)
    if len(known) < FEWEST_SURE:
        return frozenset()
    return frozenset(name for _, name in known[: int(share * len(known))])


def _harmful(requests: Sequence[ServedRequest], harm: Harm | None) -> Collection[str]:
    """Ids of the answers that the harm lists find; JSON answers and refusals are left alone (`data.steps.harm`)."""
    if harm is None or not requests:
        return frozenset()
    rows = pl.DataFrame(
        {"prompt": [asked(each) for each in requests], "completion": [each.output for each in requests]},
        schema={"prompt": pl.String, "completion": pl.String},
    )
    return frozenset(requests[row].id for row in harm.find(rows)["row"].to_list())


def weight(found: Collection[Signal]) -> float:
    """How much several signals say together."""
    return sum(WEIGHTS[name] for name in found)


def in_words(found: Collection[Signal]) -> Iterator[str]:
    """The signals as people read them, the weightiest first."""
    yield from (name.replace("_", " ") for name in SIGNALS if name in found)
