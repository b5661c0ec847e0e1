"""A language model as judge, asked twice with the answers in either order: some models prefer what stands first.

Two verdicts that name the same answer are a preference; any others are a tie. Calls are those of a teacher: paced,
tried again, capped in cost, every verdict on disk. Knows nothing of totals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from posttrain.data.synthetic.calls import Answer, Call, Outcome
from posttrain.data.synthetic.teacher import Teacher
from posttrain.errors import DataError
from posttrain.evaluation.judge import TIE, Comparison, Preference
from posttrain.progress import Progress, silent
from posttrain.prompts import messages
from posttrain.spec.sections.judge import JudgeSpec

MOST_UNREADABLE = 0.2
"""Share of verdicts that may be no verdict; more means that the judge does not do what it is told (ours)."""

_MARKED = re.compile(r"\[\[\s*(A|B|C|tie)\s*\]\]", re.IGNORECASE)
_BARE = re.compile(r"\W*(?:answer\s+)?(A|B|C|tie)\W*", re.IGNORECASE)
_SHARES = {"A": 1.0, "B": 0.0, "C": TIE, "TIE": TIE}


def prefers(
    spec: JudgeSpec, compared: Sequence[Comparison], cache: Path, progress: Progress = silent
) -> list[Preference]:
    """The preference of each comparison; verdicts in `cache` are not asked for again.

    Raises: `ModelError` for a wrong key, address or model; `TransientError` when the endpoint is down; `DataError`
    when calls were stopped before every row was judged, or too many verdicts cannot be read.
    """
    teacher = Teacher(spec.caller(), cache, progress=progress)
    wanted = [call for pair in compared for call in (_call(spec, pair), _call(spec, pair, turned=True))]
    outcomes = teacher.ask(wanted)
    if missing := sum(outcome is None for outcome in outcomes):
        raise DataError(
            f"evaluate.judge: {missing:,} of {len(wanted):,} verdicts are missing, because {teacher.asked.stopped}; "
            "raise max_cost or run again (verdicts so far are kept)"
        )
    verdicts = [_verdict(outcome) for outcome in outcomes]
    unreadable = sum(verdict is None for verdict in verdicts)
    if unreadable > MOST_UNREADABLE * len(verdicts):
        raise DataError(
            f"evaluate.judge: {unreadable:,} of {len(verdicts):,} answers of {spec.model} are no verdict, expected "
            "[[A]], [[B]] or [[tie]] at the end; mend judge.instruction, raise max_tokens or choose another model"
        )
    return [_both(first, second) for first, second in zip(verdicts[::2], verdicts[1::2], strict=True)]


def _call(spec: JudgeSpec, pair: Comparison, turned: bool = False) -> Call:
    first, second = (pair.other, pair.ours) if turned else (pair.ours, pair.other)
    system = f"[System message]\n{pair.system}\n\n" if pair.system else ""
    text = (
        f"{system}[Prompt]\n{pair.prompt}\n\n[Start of answer A]\n{first}\n[End of answer A]\n\n"
        f"[Start of answer B]\n{second}\n[End of answer B]"
    )
    return Call(tuple(messages(spec.instruction, text)))


def _verdict(outcome: Outcome | None) -> float | None:
    """1 for the first answer, 0 for the second, 0.5 for neither; None for what is no verdict."""
    if not isinstance(outcome, Answer):
        return None
    if marked := _MARKED.findall(outcome.text):
        return _SHARES[marked[-1].upper()]
    bare = _BARE.fullmatch(outcome.text)
    return _SHARES[bare[1].upper()] if bare else None


def _both(first: float | None, second: float | None) -> Preference:
    """What the verdicts in both orders come to; ours stood first, then second."""
    if first is None or second is None or first != 1 - second:
        return Preference(TIE, agreed=False)
    return Preference(first)
