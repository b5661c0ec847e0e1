"""When bad rows stop the run: too many of them, or too few good ones.

Knows nothing of how rows are found to be bad.
"""

from __future__ import annotations

from collections.abc import Sequence

from posttrain.data.validate.result import RuleCount
from posttrain.data.validate.settle import Part
from posttrain.errors import DataError


def counts(part: Part) -> list[RuleCount]:
    """What became of the rows that broke a rule, in the suite's order."""
    found = [
        RuleCount(
            rule=rule,
            severity=severity,
            rows=count.rows,
            split=part.split,
            examples=tuple(count.examples),
            reason=part.book.reason(rule),
        )
        for (rule, severity), count in part.intake.counts.by.items()
    ]
    found += [
        RuleCount(rule=rule, severity="warn", rows=0, split=part.split, examples=(observed,))
        for rule, observed in part.whole_table
    ]
    return sorted(found, key=lambda count: part.book.order(count.rule))


def too_many(part: Part) -> None:
    """Raise `DataError` when more of a split's rows break a rule than its `max_share` allows; heeded splits only."""
    broken: dict[str, list[RuleCount]] = {}
    for count in counts(part) if part.heeded else ():
        broken.setdefault(count.rule, []).append(count)
    for rule, found in broken.items():
        rows, most = sum(count.rows for count in found), part.book.max_share(rule)
        if rows > most * part.intake.received:
            raise DataError(
                f"data.{part.split}: {rows:,} of {part.intake.received:,} rows ({rows / part.intake.received:.1%}) "
                f"break rule {rule} (first {found[0].example}), expected at most {most:.1%}; mend them or raise "
                f"validate.max_share.{rule}"
            )


def too_few(parts: Sequence[Part], max_quarantined: float) -> None:
    """Raise `DataError` when a split has no row left, or when a larger share of the rows to train on is set aside."""
    for part in parts:
        if not part.left:
            raise DataError(
                f"data.{part.split}: 0 of {part.intake.received:,} rows are left after validation "
                f"({_reasons([part])}), expected at least 1; mend the rows, or see "
                f"data.{part.split}[0].format and task.kind"
            )
    trained = [part for part in parts if part.heeded]
    total = sum(part.intake.received for part in trained)
    bad = total - sum(part.left for part in trained)
    if bad > max_quarantined * total:
        where = " and ".join(f"data.{part.split}" for part in trained)
        raise DataError(
            f"{where}: {bad:,} of {total:,} rows ({bad / total:.1%}) would be quarantined ({_reasons(trained)}), "
            f"expected at most {max_quarantined:.1%}; mend them or raise validate.max_quarantined"
        )


def _reasons(parts: Sequence[Part]) -> str:
    found = [count for part in parts for count in counts(part) if count.severity == "quarantine"]
    worst = sorted(found, key=lambda count: -count.rows)
    first = f"; first {worst[0].example}" if worst else ""
    return ", ".join(f"{count.rule} {count.rows:,}" for count in worst) + first
