"""`posttrain models`: the registered versions, two of them compared, and a person's promotion or rolling back.

Loads no model and starts no server: it reads and sets what MLflow's store holds.
"""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from flows.cli.display import make_console
from flows.cli.pair_table import WIDE, explain, pair_table
from flows.cli.row_story import hint, safe, table
from flows.operations.quiet import settle_environment
from posttrain.errors import ModelError, SpecError
from posttrain.registry import Promotion, find, load_line, promotion
from posttrain.registry.comparison import side_by_side
from posttrain.registry.kept import kept_figures, kept_scores
from posttrain.wording import number

if TYPE_CHECKING:
    from posttrain.evaluation.scores import Scores
    from posttrain.registry.find import ModelVersion

NEWEST = 20
"""Versions that `list` shows."""
METRICS = 3
"""Scores a version that `list` shows; `compare` has all."""
ALIAS_STYLES = {"champion": "bold green", "challenger": "yellow", "previous": "cyan"}
OUTCOME_STYLES = {"passed": "green", "refused": "yellow", "too_few_rows": "yellow"}


def show_versions(name: str | None) -> None:
    """Print the newest versions of a registered model. Raises: UserError."""
    _open()
    name, console = find.name_or_only(name), make_console()
    found, aliases = find.versions(name), find.aliases(name)
    shown = found[:NEWEST]
    several = f"the newest {len(shown)} of {len(found)} versions" if len(found) > NEWEST else _count(len(found))
    lines = table(f"{safe(name)}: {several}")
    lines.add_column("version", justify="right", no_wrap=True)
    lines.add_column("alias", overflow="fold", min_width=10)
    lines.add_column("release", overflow="fold", min_width=7)
    lines.add_column("scores", overflow="fold", min_width=22)
    lines.add_column("decided", overflow="fold", min_width=16)
    wide = console.width >= WIDE
    if wide:
        lines.add_column("why", overflow="fold", min_width=24)
    for each in shown:
        cells = [*_version_cells(each, aliases.get(str(each.version), [])), *([_why(each)] if wide else [])]
        lines.add_row(*cells)
    console.print(lines)
    if not wide and (
        serving := next((each for each in found if "champion" in aliases.get(str(each.version), [])), None)
    ):
        console.print(Text(f"version {serving.version} is champion: {'; '.join(_why(serving).plain.splitlines())}"))
    if len(shown) > 1:
        hint(console, f"posttrain models compare {name} {shown[1].version} {shown[0].version}")


def show_comparison(words: Sequence[str]) -> None:
    """Print metrics of two versions side by side. Raises: UserError."""
    _open()
    name, (first, second) = _name_and(words, 2, "posttrain models compare [NAME] A B")
    ours, theirs = (find.version(name, each) for each in (first, second))
    console, scores = make_console(), [_scores(name, each) for each in (ours, theirs)]
    aliases = find.aliases(name)
    pairs = side_by_side(scores[0], scores[1])
    headings = ["\n".join([f"version {each.version}", *aliases.get(str(each.version), [])]) for each in (ours, theirs)]
    title = f"{safe(name)}: version {theirs.version} against version {ours.version}"
    console.print(pair_table(title, headings, pairs, console.width >= WIDE))
    explain(console, pairs, scores[1].split)


def promote(words: Sequence[str], by: str | None, reason: str) -> None:
    """Make a version champion because a person says so. Raises: UserError."""
    uri = _open()
    name, (version,) = _name_and(words, 1, "posttrain models promote [NAME] VERSION")
    _tell(promotion.promote_by_hand(name, version, by or _user(), reason), uri)


def roll_back(name: str | None, by: str | None, reason: str) -> None:
    """Let champion and previous change places. Raises: UserError."""
    uri = _open()
    _tell(promotion.roll_back(find.name_or_only(name), by or _user(), reason), uri)


def _open() -> str:
    settle_environment()
    return find.open_store(Path())


def _name_and(words: Sequence[str], count: int, usage: str) -> tuple[str, list[str]]:
    """The model's name, or the only model's, and `count` words after it. Raises: UserError."""
    if len(words) not in (count, count + 1):
        raise SpecError(f"posttrain models: found {len(words)} words, expected {count} or {count + 1}; use `{usage}`")
    name = find.name_or_only(words[0] if len(words) > count else None)
    return name, list(words[-count:])


def _tell(changed: Promotion, uri: str) -> None:
    console = make_console()
    before = f"; version {changed.previous} is previous" if changed.previous not in (None, changed.version) else ""
    console.print(Text(f"{safe(changed.name)} version {changed.version} is champion{before}", style="green"))
    for reason in changed.reasons:
        console.print(Text(f"  {safe(reason)}"))
    hint(console, load_line(uri, changed.name))


# --- cells ---------------------------------------------------------------------------------------------------


def _version_cells(found: ModelVersion, aliases: Sequence[str]) -> list[str | Text]:
    named = Text("\n").join(Text(safe(alias), style=ALIAS_STYLES.get(alias, "")) for alias in aliases)
    outcome = found.tags.get("gate.release", "")
    scores = kept_figures(found)
    figures = [f"{name} {number(score.value)}" for name, score in scores.metrics.items()][:METRICS] if scores else ["–"]
    at, by = found.tags.get("posttrain.decided_at", ""), found.tags.get("posttrain.decided_by", "")
    return [
        str(found.version),
        named,
        Text(outcome.replace("_", " "), style=OUTCOME_STYLES.get(outcome, "")),
        Text(safe("\n".join(figures))),
        Text(safe(f"{at.removesuffix(' UTC')[:16]}\n{by}".strip())),
    ]


def _why(found: ModelVersion) -> Text:
    """The first reasons of the decision, and that it was rolled back."""
    reasons = found.tags.get("posttrain.reasons", "").splitlines()[:2]
    back = found.tags.get(promotion.ROLLED_BACK)
    return Text("\n".join(safe(line) for line in [*([f"rolled back {back}"] if back else []), *reasons]))


def _scores(name: str, found: ModelVersion) -> Scores:
    scores = kept_scores(found)
    if scores is None:
        raise ModelError(
            f"{name} version {found.version}: its scores are not kept in this store, expected those of a version that "
            "`posttrain run` registered; run its spec again"
        )
    return scores


def _count(versions: int) -> str:
    return f"{versions:,} version{'' if versions == 1 else 's'}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "somebody"
