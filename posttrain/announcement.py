"""How a run ended, in one paragraph for people who do not look at a page: verdicts, numbers, links. Pure.

Secrets in addresses are masked. Knows nothing of who is told, or how.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from posttrain.artifacts import Frozen
from posttrain.gates import Check, Verdict
from posttrain.outcome import Outcome
from posttrain.spec.sections.notify import Occasion
from posttrain.tracking.values import masked

LONGEST = 300
"""Characters of a reason that are told; the report has all."""
ENDINGS = {
    "promoted": "a new champion",
    "challenger": "a challenger, no new champion",
    "refused": "refused",
    "advice": "nothing was trained",
}
SECRET = re.compile(
    r"(?i)\b((?:api[_-]?key|access[_-]?token|token|secret|password|passwd|signature|sig)\s*[=:]\s*)[^\s&,;'\"]+"
    r"|\b(bearer\s+)\S+|\b(sk-|hf_|xox[abp]-|ghp_)[\w-]{8,}"
)


class Announcement(Frozen):
    """What is sent: a subject of a few words and one paragraph."""

    subject: str
    body: str


def occasions(outcome: Outcome) -> set[Occasion]:
    """What of `notify.ends` such an end is: a challenger that the release gate refused is refused, too."""
    refused = outcome.ending != "promoted" and any(not verdict.passed for verdict in outcome.verdicts)
    return {outcome.ending, "refused"} if refused else {outcome.ending}


def announce(outcome: Outcome, links: Mapping[str, str]) -> Announcement:
    """The end of a run that came to one. `links` are further addresses by their names, such as the flow run's page."""
    told = [f"{outcome.name}: {outcome.headline.rstrip('.')}."]
    told += [_verdict(verdict) for verdict in outcome.verdicts]
    if outcome.model_uri:
        told.append(f"The model is {outcome.model_uri}.")
    where = {"Report": outcome.report, "MLflow run": outcome.mlflow_run_id, "Data Docs": outcome.data_docs, **links}
    return Announcement(
        subject=without_secrets(f"{outcome.name}: {ENDINGS[outcome.ending]}"), body=_paragraph(told, where)
    )


def announce_failure(name: str, reason: str, links: Mapping[str, str]) -> Announcement:
    """A crash, or a mistake in spec or data: `reason` is its one line."""
    told = f"{name}: the run failed: {_short(reason).rstrip('.')}."
    after = "Nothing was promoted; the same command goes on from where it stopped."
    return Announcement(subject=without_secrets(f"{name}: the run failed"), body=_paragraph([told, after], links))


def without_secrets(text: str) -> str:
    """`text` with passwords in addresses, and what looks like a key or token, masked."""
    return SECRET.sub(lambda found: f"{found[1] or found[2] or found[3]}***", masked(text))


def _verdict(verdict: Verdict) -> str:
    """The gate release refused: slot_f1 0.500 [0.400, 0.600], above champion (gain -0.100)."""
    wanted = [check for check in verdict.checks if not check.passed] or list(verdict.checks)
    return f"The gate {verdict.name.replace('_', ' ')} {_SAID[verdict.outcome]}: {'; '.join(map(_check, wanted))}."


_SAID = {"passed": "passed", "refused": "refused", "too_few_rows": "had too few rows to tell"}


def _check(check: Check) -> str:
    name = f"{check.slice}: {check.metric}" if check.slice else check.metric
    gain = "" if check.gain is None else f" (gain {check.gain:+.3f})"
    return f"{name} {check.value:.3f} [{check.low:.3f}, {check.high:.3f}], {check.requirement}{gain}"


def _paragraph(sentences: list[str], links: Mapping[str, str]) -> str:
    where = "; ".join(f"{name}: {address}" for name, address in links.items() if address)
    return without_secrets(" ".join([*(_one_line(each) for each in sentences), where]).strip())


def _short(text: str) -> str:
    line = _one_line(text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _one_line(text: str) -> str:
    return " ".join(text.split())
