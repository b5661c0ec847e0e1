"""What is new since a run was last started, in words. Pure; decides nothing but that."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.sensing.drift import Drift
from posttrain.sensing.watermark import Watermark
from posttrain.spec.sections.triggers import TriggersSpec


class News(Frozen):
    """Reasons to start a run, and what was looked at and gave none."""

    reasons: tuple[str, ...] = ()
    quiet: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.reasons)

    def __str__(self) -> str:
        return "; ".join(self.reasons) if self.reasons else f"nothing new: {'; '.join(self.quiet)}"


def whats_new(before: Watermark | None, now: Watermark, spec: TriggersSpec, drift: Drift | str | None = None) -> News:
    """Compare two looks. `drift` is the test's result, or why none was made.

    Without a look before, all data is new: the pipeline was never started by a watch.
    """
    found = [
        *([_data(before, now, spec.new_rows)] if spec.new_rows is not None else []),
        *([_answers(before, now, spec.new_feedback)] if spec.new_feedback is not None else []),
        *([_drift(drift, spec)] if drift is not None else []),
    ]
    if not found:
        return News(quiet=("triggers names nothing to look for",))
    return News(
        reasons=tuple(words for new, words in found if new), quiet=tuple(words for new, words in found if not new)
    )


def _data(before: Watermark | None, now: Watermark, wanted: int) -> tuple[bool, str]:
    rows = "rows" if now.rows is None else f"{now.rows:,} rows"
    if before is None:
        return True, f"the data was never trained on by a watch ({rows})"
    if before.content == now.content:
        return False, f"the data is as it was ({rows})"
    if before.rows is None or now.rows is None:
        return True, "the data changed (its rows are not counted where it lies)"
    more = now.rows - before.rows
    words = f"the data changed: {more:+,} rows, now {now.rows:,}"
    return (True, words) if more >= wanted or wanted == 0 else (False, f"{words}, of {wanted:,} that start a run")


def _answers(before: Watermark | None, now: Watermark, wanted: int) -> tuple[bool, str]:
    more = now.answers - (before.answers if before else 0)
    if more >= wanted:
        return True, f"people gave {more:,} answers"
    return False, f"people gave {max(more, 0):,} answers, of {wanted:,} that start a run"


def _drift(drift: Drift | str, spec: TriggersSpec) -> tuple[bool, str]:
    if isinstance(drift, str):
        return False, drift
    limits = spec.drift
    assert limits is not None, "drift is tested only when the spec asks for it"
    if drift.p_value > limits.significance:
        return False, f"requests are like the training prompts: {drift}"
    if drift.unlike < limits.unlike:
        return False, f"requests differ from the training prompts too little to matter: {drift}"
    return True, f"requests drifted from the training prompts: {drift}"
