"""The tables that the data stages left behind: which folders are a spec's, and what they set aside.

Files are searched, not loaded: a filter goes down to Parquet, and only the rows that it lets through come up. Knows
nothing of what becomes of a single row; runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from posttrain.artifacts import MANIFEST, Workspace
from posttrain.spec.sections.curate import CurateSpec
from posttrain.spec.sections.data import DataSpec
from posttrain.spec.sections.validate import ValidateSpec

ASIDE = ("quarantine", "warned", "dropped")
"""The tables whose rows have a reason: `rule`, `value`, `threshold`, `split` and `twin`, of curation also `verdict`."""


@dataclass(frozen=True)
class DataStages:
    """The folders of the data stages that last worked on a spec's rows; `curate` is None until it has."""

    validate: Path
    curate: Path | None = None

    def tables(self) -> Iterator[tuple[str, Path]]:
        """(stage, file) of every table of rows, in the order of the flow."""
        for stage, folder in (("validate", self.validate), ("curate", self.curate)):
            for path in sorted(folder.glob("*.parquet")) if folder else ():
                yield stage, path


def find_stages(workspace: Workspace, data: DataSpec, validate: ValidateSpec, curate: CurateSpec) -> DataStages | None:
    """The finished data stages of a spec, or None: those with its settings first, then the newest.

    Told by their manifests, so that it takes no time and still answers when a setting or a file has changed since.
    """
    wanted = {source.path for source in data.train}
    made = [
        found for found in _manifests(workspace.root, "validate") if wanted & _paths(found[1]["inputs"].get("sources"))
    ]
    later = _manifests(workspace.root, "curate")
    best: tuple[tuple[Any, ...], DataStages] | None = None
    for at, manifest, folder in made:
        exact = (
            _has(manifest, validate.model_dump(mode="json")),
            wanted == {path for path in _paths(manifest["inputs"]["sources"]) if not _is_feedback(path, workspace)},
        )
        train = manifest["result"]["train"]["fingerprint"]
        following = [each for each in later if each[1]["inputs"].get("rows", {}).get("train") == train]
        settings = curate.model_dump(mode="json")
        following.sort(key=lambda each: (_has(each[1], settings), each[0]))
        chosen = DataStages(folder, following[-1][2] if following else None)
        rank = (*exact, following[-1][0] if following else at)
        if best is None or rank > best[0]:
            best = rank, chosen
    return best[1] if best else None


def _manifests(root: Path, stage: str) -> list[tuple[float, dict[str, Any], Path]]:
    """(when it was finished or last found, the manifest, its folder) of every finished stage of this name."""
    found = []
    for path in (root / "stages").glob(f"{stage}-*/{MANIFEST}"):
        try:
            found.append((path.stat().st_mtime, json.loads(path.read_text(encoding="utf-8")), path.parent))
        except (OSError, ValueError):
            continue  # being replaced by a run at this moment
    return found


def _has(manifest: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Whether a stage ran with these settings, as far as they decide its result."""
    used = manifest["inputs"].get("spec") or {}
    return all(settings.get(name) == value for name, value in used.items())


def _is_feedback(path: str, workspace: Workspace) -> bool:
    """Whether a source holds what people answered: it joins those of the spec by itself (`posttrain/feedback`)."""
    return Path(path).parts[-3:-1] == (workspace.root.name, "feedback")


def _paths(sources: Any) -> set[str]:
    return {str(item["path"]) for item in (sources or {}).get("train", [])}


# --- what was set aside -------------------------------------------------------------------------------------


def counts(stages: DataStages) -> pl.DataFrame:
    """How many rows each rule set aside, sent to review or warned of: stage, rule, verdict, split, rows."""
    keys = ("stage", "rule", "verdict", "split")
    parts = [part.group_by(*keys).agg(rows=pl.len().cast(pl.Int64)) for part in _aside(stages, warned=True)]
    order = pl.col("stage") != "validate", pl.col("verdict") == "warn", -pl.col("rows"), pl.col("rule")
    return pl.concat(parts).sort(*order).collect(engine="streaming")


def set_aside(
    stages: DataStages,
    rule: str | None = None,
    limit: int | None = None,
    verdict: str | None = None,
    split: str | None = None,
    row_id: str | None = None,
) -> pl.DataFrame:
    """Rows that were set aside or wait for review, with their reasons, `stage` and `verdict`; the first `limit`.

    Rows that were only warned of are among them when `verdict` is "warn".
    """
    wanted = {"rule": rule, "verdict": verdict, "split": split, "id": row_id}
    fits = [pl.col(name) == value for name, value in wanted.items() if value is not None]
    parts: list[pl.DataFrame] = []
    for table in _aside(stages, warned=verdict == "warn"):
        left = None if limit is None else limit - sum(part.height for part in parts)
        parts.append(_first(table, fits, left))
    return pl.concat(parts, how="diagonal").fill_null("")


def _first(table: pl.LazyFrame, fits: Sequence[pl.Expr], limit: int | None) -> pl.DataFrame:
    """The first rows that fit. Their places are found first, by the narrow columns: texts of no others are read."""
    if limit is None:
        return table.filter(*fits).collect(engine="streaming")
    places = table.with_row_index("place").filter(*fits).select("place").limit(limit).collect(engine="streaming")
    return pl.concat([table.limit(0).collect(), *(table.slice(place, 1).collect() for place in places["place"])])


def _aside(stages: DataStages, warned: bool) -> Iterator[pl.LazyFrame]:
    for stage, path in stages.tables():
        if path.stem not in ASIDE or (path.stem == "warned" and not warned):
            continue
        table = pl.scan_parquet(path)
        names = table.collect_schema().names()
        said = pl.lit("warn") if path.stem == "warned" else pl.col("verdict") if "verdict" in names else pl.lit("drop")
        yield table.with_columns(stage=pl.lit(stage), verdict=said)
