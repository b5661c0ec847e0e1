"""Promotion: `champion` goes to what is better than the present champion, else the version is `challenger`.

Every change happens under the lock of the name and against the champion that the verdict was made against, so that
two runs cannot both win, and a second call with the same arguments changes nothing. Knows nothing of weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import Field

from posttrain import tracking
from posttrain.artifacts import Frozen
from posttrain.errors import ModelError
from posttrain.gates import ALPHA, Check, Verdict
from posttrain.registry import find
from posttrain.registry.aliases import CHALLENGER, CHAMPION, PREVIOUS, challenge, crown, settle, version_of
from posttrain.registry.lock import Lock, promoting

PIPELINE = "pipeline"
ROLLED_BACK = "posttrain.rolled_back"


class Promotion(Frozen):
    """Which alias a version got, and why; `previous` is the champion before."""

    name: str
    version: str
    alias: str
    previous: str | None
    reasons: tuple[str, ...]
    stale: bool = Field(
        default=False, description="The champion is not the one that the verdict was made against: test again"
    )


class Approval(Frozen):
    """What a person answered when asked whether a version may become champion; `approved` is None without an answer."""

    approved: bool | None
    by: str = ""
    comment: str = ""

    @property
    def in_words(self) -> str:
        """approved by ann: looks good."""
        if self.approved is None:
            return self.comment or "nobody answered"
        who = f" by {self.by}" if self.by else ""
        return f"{'approved' if self.approved else 'refused'}{who}" + (f": {self.comment}" if self.comment else "")


def promote(
    name: str,
    version: str,
    verdict: Verdict,
    *,
    against: str | None,
    may_replace: bool = True,
    approval: Approval | None = None,
) -> Promotion:
    """Champion when the verdict passed and shows a gain over the present champion, else challenger.

    `against` is the champion version that the verdict was made against (None: there was none). When another version
    is champion by now nothing is promoted and the result is `stale`. With `may_replace` off (`register.promote: false`)
    or an approval that is not given, the version stays challenger. Verdict, reasons and approval become tags.
    Raises: WorkspaceError when other processes hold the lock for minutes; LockLost.
    """
    with promoting(name) as lock:
        settle(name, lock)
        present = version_of(name, CHAMPION)
        if present == version:
            return _promotion(name, version, CHAMPION, present, ("it is the champion already",), lock)
        stale = present != against
        better, reasons = False, _moved(against, present)
        if not stale:
            better, reasons = _may(name, version, verdict, against, may_replace, approval)
        said = {
            "posttrain.decision": CHAMPION if better else CHALLENGER,
            "posttrain.decided_by": PIPELINE,
            "posttrain.verdict": verdict.summary,
            "posttrain.reasons": "\n".join(reasons),
            **_approval_tags(approval),
        }
        _say(name, version, said, lock)
        if better:
            crown(name, version, lock)
        else:
            challenge(name, version, lock)
        alias = CHAMPION if better else CHALLENGER
        return _promotion(name, version, alias, present, reasons, lock, stale)


def promote_by_hand(name: str, version: str, by: str, reason: str) -> Promotion:
    """A person makes a version champion, whatever its verdict; recorded in its tags. Raises: ModelError."""
    version = str(find.version(name, version).version)
    with promoting(name) as lock:
        settle(name, lock)
        present = version_of(name, CHAMPION)
        if present == version:
            return _promotion(name, version, CHAMPION, present, ("it is the champion already",), lock)
        reasons = (f"{by} promoted it", *([reason] if reason else []))
        _say(name, version, _by_hand(CHAMPION, by, reasons), lock)
        _forget_rolling_back(name, version, lock)
        crown(name, version, lock)
        return _promotion(name, version, CHAMPION, present, reasons, lock)


def roll_back(name: str, by: str, reason: str) -> Promotion:
    """Champion and previous change places; the pipeline will not promote the version that was rolled back again.

    Raises: ModelError when there is no other champion to go back to.
    """
    with promoting(name) as lock:
        settle(name, lock)
        present, before = version_of(name, CHAMPION), version_of(name, PREVIOUS)
        if present is None or before is None or present == before:
            held = f"version {present} is the only champion so far" if present else "there is no champion"
            raise ModelError(
                f"{name}: cannot be rolled back, for {held}; `posttrain models promote {name} VERSION` sets one"
            )
        why = f": {reason}" if reason else ""
        reasons = (f"{by} rolled version {present} back", *([reason] if reason else []))
        _say(name, present, {ROLLED_BACK: f"by {by} on {_now()}{why}", "posttrain.decision": "rolled back"}, lock)
        _say(name, before, _by_hand(CHAMPION, by, reasons), lock)
        _forget_rolling_back(name, before, lock)
        crown(name, before, lock)
        return _promotion(name, before, CHAMPION, present, reasons, lock)


def weigh(verdict: Verdict, champion_version: str | None) -> tuple[bool, tuple[str, ...]]:
    """Whether the verdict speaks for a change of champion, and why; pure."""
    if not verdict.passed:
        return False, tuple(check.reason for check in verdict.checks if not check.passed) or (verdict.summary,)
    if champion_version is None:
        return True, ("there was no champion", verdict.summary)
    compared = [check for check in verdict.checks if check.reference == CHAMPION and check.gain is not None]
    if not compared:
        return False, (f"no gate of {verdict.name} compared it with the champion, version {champion_version}",)
    gains = [check for check in compared if _surely_better(check, len(compared))]
    if not gains:
        return False, (
            f"not surely better than the champion, version {champion_version}",
            *(check.reason for check in compared),
        )
    return True, (f"better than version {champion_version}", *(check.reason for check in gains))


def _surely_better(check: Check, compared: int) -> bool:
    """Whether its gain over the champion is more than luck, though one of `compared` chances to find one (Holm).

    A gate may only ask that nothing was lost; who takes the champion's place must be better all the same, or two equal
    models would change places for ever.
    """
    above = (check.gain_low or 0.0) > 0
    return above and (check.p_value is None or check.p_value * compared <= ALPHA)


def rolled_back(name: str, version: str) -> str:
    """Who rolled the version back, when and why; empty when nobody did."""
    return str(tracking.client().get_model_version(name, version).tags.get(ROLLED_BACK, ""))


def _may(
    name: str, version: str, verdict: Verdict, against: str | None, may_replace: bool, approval: Approval | None
) -> tuple[bool, tuple[str, ...]]:
    """The verdict's word, unless a person or the spec stands against it."""
    if not may_replace:
        return False, ("register.promote is off",)
    better, reasons = weigh(verdict, against)
    if better and (back := rolled_back(name, version)):
        return False, (f"it was rolled back {back}", f"`posttrain models promote {name} {version}` brings it back")
    if better and approval is not None:
        return bool(approval.approved), (approval.in_words, *reasons)
    return better, reasons


def _moved(against: str | None, present: str | None) -> tuple[str, ...]:
    tested = f"version {against}" if against else "no champion"
    now = f"version {present} is champion now" if present else "there is no champion now"
    return (f"it was tested against {tested}, but {now}",)


def _approval_tags(approval: Approval | None) -> dict[str, str]:
    if approval is None:
        return {}
    word = {True: "approved", False: "refused", None: "no answer"}[approval.approved]
    return {
        "posttrain.approval": word,
        "posttrain.approval_by": approval.by,
        "posttrain.approval_comment": approval.comment,
    }


def _by_hand(decision: str, by: str, reasons: tuple[str, ...]) -> dict[str, str]:
    return {"posttrain.decision": decision, "posttrain.decided_by": by, "posttrain.reasons": "\n".join(reasons)}


def _say(name: str, version: str, tags: Mapping[str, str], lock: Lock) -> None:
    """Set the version's tags and the time of the decision; what is said already is not said again."""
    talker = tracking.client()
    present = talker.get_model_version(name, version).tags
    if all(present.get(key) == value for key, value in tags.items()):
        return
    lock.check()
    for key, value in {**tags, "posttrain.decided_at": _now()}.items():
        talker.set_model_version_tag(name, version, key, value)


def _forget_rolling_back(name: str, version: str, lock: Lock) -> None:
    if rolled_back(name, version):
        lock.check()
        tracking.client().delete_model_version_tag(name, version, ROLLED_BACK)


def _promotion(
    name: str,
    version: str,
    alias: str,
    previous: str | None,
    reasons: tuple[str, ...],
    lock: Lock,
    stale: bool = False,
) -> Promotion:
    return Promotion(
        name=name, version=version, alias=alias, previous=previous, reasons=(*reasons, *lock.notes), stale=stale
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
