"""Promotion: the alias `champion` goes to what is better than the present champion, else `challenger`.

Knows nothing of weights; a verdict and the registry's aliases decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posttrain import tracking
from posttrain.artifacts import Frozen
from posttrain.registry.versions import CHAMPION, by_alias

if TYPE_CHECKING:
    from posttrain.gates import Verdict

CHALLENGER = "challenger"


class Promotion(Frozen):
    """Which alias a version got, and why; `previous` is the champion before."""

    name: str
    version: str
    alias: str
    previous: str | None
    reasons: tuple[str, ...]


def promote(name: str, version: str, verdict: Verdict, may_replace: bool = True) -> Promotion:
    """Alias `champion` when the verdict passed and shows a gain over the present champion, else `challenger`.

    Without a present champion the verdict alone decides. With `may_replace` off (`register.promote: false`) a
    person promotes. The reasons are kept as a tag of the version.
    """
    talker, present = tracking.client(), by_alias(name, CHAMPION)
    previous = str(present.version) if present else None
    if previous == version:
        reasons: tuple[str, ...] = ("it is the champion already",)
        return Promotion(name=name, version=version, alias=CHAMPION, previous=previous, reasons=reasons)
    better, reasons = _judge(verdict, previous) if may_replace else (False, ("register.promote is off",))
    alias = CHAMPION if better else CHALLENGER
    talker.set_registered_model_alias(name, alias, version)
    if better and (waiting := by_alias(name, CHALLENGER)) and str(waiting.version) == version:
        talker.delete_registered_model_alias(name, CHALLENGER)
    tags = {"posttrain.verdict": verdict.summary, "posttrain.reasons": "\n".join(reasons)}
    for key, value in tags.items():
        talker.set_model_version_tag(name, version, key, value)
    return Promotion(name=name, version=version, alias=alias, previous=previous, reasons=reasons)


def _judge(verdict: Verdict, champion_version: str | None) -> tuple[bool, tuple[str, ...]]:
    if not verdict.passed:
        return False, tuple(check.reason for check in verdict.checks if not check.passed) or (verdict.summary,)
    if champion_version is None:
        return True, ("there was no champion", verdict.summary)
    compared = [check for check in verdict.checks if check.reference == CHAMPION and check.gain is not None]
    if not compared:
        return False, (f"no gate of {verdict.name} compared it with the champion, version {champion_version}",)
    gains = [check for check in compared if check.gain is not None and check.gain > 0]
    if not gains:
        return False, (f"no better than the champion, version {champion_version}", *(c.reason for c in compared))
    return True, (f"better than version {champion_version}", *(check.reason for check in gains))
