"""Rows about which only people can decide, as items: what curation sent to review and nobody has judged yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from posttrain.data.account import outputs, review, row_verdict
from posttrain.data.account.verdicts import Verdicts
from posttrain.feedback.items import ROW, Item, Kind, Output
from posttrain.feedback.words import COLUMN, REJECTED, RULE
from posttrain.preflight import workspace_of
from posttrain.spec import LoadedSpec

QUEUES: Mapping[str, Kind] = {"harm": "harm", "facts": "fact"}
"""Rule of curation -> the queue of its rows; those of any other rule are looked over and corrected."""


def waiting(loaded: LoadedSpec) -> list[Item]:
    """The rows of the last run that wait for a person, as items; none when curation has not run.

    Raises: DataError when the file of verdicts cannot be read.
    """
    spec = loaded.spec
    stages = outputs.find_stages(workspace_of(loaded), spec.data, spec.validate_, spec.curate)
    if stages is None or stages.curate is None:
        return []
    said = Verdicts.of(row_verdict.read(row_verdict.beside(loaded.path)))
    return list(_items(review.queue(stages, said).to_dicts()))


def _items(rows: list[dict[str, str]]) -> Iterator[Item]:
    for row in rows:
        column = "chosen" if row.get("chosen") else "completion"
        context = {ROW: row["id"], RULE: row["rule"], COLUMN: column}
        if row.get("rejected"):
            context[REJECTED] = row["rejected"]
        expected = f" ({row['threshold']})" if row["threshold"] else ""
        yield Item.new(
            QUEUES.get(row["rule"], "correction"),
            row["prompt"],
            system=row.get("system", ""),
            outputs=[Output(row[column], row["source"])],
            tag=row["rule"],
            reasons=[f"{row['rule']}: {row['value']}{expected}"],
            context=context,
        )
