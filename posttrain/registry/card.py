"""A version's model card: YAML front matter as the Hugging Face Hub reads it, then what a person wants to know.

Everything in it was measured or set by this run; what spec or rows say is escaped, so that it can be read and nothing
else. Knows nothing of how the version is stored but for where its card lies.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from posttrain import tracking
from posttrain.artifacts import DatasetRef, Frozen
from posttrain.evaluation.metrics import METRICS
from posttrain.evaluation.scores import Gain, Scores
from posttrain.gates import Verdict
from posttrain.registry.comparison import MetricPair, side_by_side
from posttrain.registry.limitations import limitations
from posttrain.registry.versions import WEIGHTS, Registered

FILE = "README.md"
LONGEST = 300
"""Characters of a text from the spec or of a reason."""


class CardFacts(Frozen):
    """What a card says of a version, as the run knows it."""

    base: str
    task: str
    instruction: str
    datasets: Mapping[str, DatasetRef | None]
    recipes: Mapping[str, Mapping[str, str | float | int | bool | None]]
    scores: Scores
    validation: Scores | None = None
    baseline: Scores | None = None
    champion: Scores | None = None
    champion_version: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    targets: Mapping[str, float] = {}
    load_line: str = ""
    lineage: Mapping[str, str] = {}
    resamples: int = 2000
    seed: int = 0


def keep_card(version: Registered, facts: CardFacts) -> str:
    """Write the card beside the version's weights, make its first paragraph the version's description; returns it."""
    talker = tracking.client()
    card = model_card(version, facts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        path.write_text(card, encoding="utf-8")
        talker.log_model_artifact(version.model_id, str(path), f"artifacts/{WEIGHTS}")
    talker.update_model_version(version.name, version.version, _summary(version, facts))
    return card


def model_card(version: Registered, facts: CardFacts) -> str:
    """The card as markdown with its front matter."""
    sections = [
        f"# {plain(version.name)} version {version.version}",
        _summary(version, facts),
        *_titled("Task", [f"{plain(facts.task)}, asked with: {plain(facts.instruction) or 'no instruction'}"]),
        *_titled("How to load it", ["```python", _code(facts.load_line), "```"]),
        *_titled("Scores", [_scores(facts.scores)]),
        *_titled("Compared", _comparisons(facts)),
        *_titled("Verdicts", [_verdicts(facts.verdicts)] if facts.verdicts else ["No gate was asked."]),
        *_titled("Limitations, as measured", _limits(facts)),
        *_titled("Training", _recipes(facts.recipes)),
        *_titled("Data", [_datasets(facts.datasets)]),
        *_titled("Lineage", [_table(("what", "value"), facts.lineage.items())]),
    ]
    return f"---\n{_front_matter(version, facts)}\n---\n\n" + "\n\n".join(sections) + "\n"


def plain(text: object, longest: int = LONGEST) -> str:
    """Text of which neither markdown nor HTML is made, on one line: no picture is loaded, nothing poses as a link."""
    line = " ".join("".join(each if each.isprintable() else " " for each in str(text)).split())
    cut = line if len(line) <= longest else line[: longest - 1] + "…"
    return re.sub(r"([\\`*_{}\[\]<>()#!~&|])", r"\\\1", cut).replace("://", ":\u200b//")


def _front_matter(version: Registered, facts: CardFacts) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    scores, test = facts.scores, facts.datasets.get(facts.scores.split)
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=scores.split,
            dataset_name=f"{version.name} {scores.split} split",
            dataset_split=scores.split,
            dataset_revision=test.fingerprint if test else None,
            metric_type=name,
            metric_value=round(score.value, 6),
        )
        for name, score in scores.metrics.items()
    ]
    card = ModelCardData(
        model_name=f"{version.name}-{version.version}",
        base_model=facts.base,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["posttrain", facts.task],
        eval_results=results or None,
    )
    return str(card.to_yaml()).strip()


def _summary(version: Registered, facts: CardFacts) -> str:
    """The first paragraph, which is the description in the registry too."""
    how = " and ".join(name.upper() for name in facts.recipes) or "no training"
    scores = facts.scores
    figures = ", ".join(f"{plain(name)} {plain(score)}" for name, score in scores.metrics.items())
    train = facts.datasets.get("train")
    rows = f" on {train.rows:,} rows" if train else ""
    return (
        f"{plain(version.name)} version {version.version}: {plain(facts.base)} after {how}{rows}, for "
        f"{plain(facts.task)}. Measured on {scores.rows:,} {plain(scores.split)} rows, {scores.asked}: {figures}."
    )


def _scores(scores: Scores) -> str:
    columns = {f"{scores.split}, {scores.rows:,} rows": scores} | {
        f"{name}, {part.rows:,} rows": part for name, part in scores.slices.items()
    }
    names = dict.fromkeys(name for each in columns.values() for name in each.metrics)
    rows = [[name, _meaning(name), *(str(each.metrics.get(name, "–")) for each in columns.values())] for name in names]
    return "Value and its 95 % interval.\n\n" + _table(("metric", "meaning", *columns), rows)


def _comparisons(facts: CardFacts) -> Iterator[str]:
    known = False
    if facts.baseline and facts.validation:
        known, split = True, plain(facts.validation.split)
        yield f"With the base model, {facts.baseline.asked}, on the {split} rows that both answered:"
        yield _pairs(side_by_side(facts.baseline, facts.validation, facts.resamples, facts.seed), "base")
    if facts.champion:
        known = True
        yield f"With version {facts.champion_version}, then champion, on the {plain(facts.scores.split)} rows:"
        yield _pairs(side_by_side(facts.champion, facts.scores, facts.resamples, facts.seed), "champion")
    if not known:
        yield "With nothing: there was neither a baseline nor a champion."


def _pairs(pairs: Sequence[MetricPair], other: str) -> str:
    rows = [
        (
            pair.label,
            pair.first or "–",
            pair.second or "–",
            _gain(pair.gain),
            "" if pair.gain is None else _p(pair.gain),
        )
        for pair in pairs
    ]
    return _table(("metric", other, "this version", "paired gain [95 %]", "p"), rows)


def _gain(gain: Gain | None) -> str:
    return "no rows in common" if gain is None else f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def _p(gain: Gain) -> str:
    return "<0.001" if gain.p_value < 0.001 else f"{gain.p_value:.3f}"


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    rows = [
        (verdict.name, check.requirement, check.outcome.replace("_", " "), check.reason)
        for verdict in verdicts
        for check in verdict.checks
    ]
    free = [verdict.name for verdict in verdicts if not verdict.checks]
    text = _table(("gate", "demand", "outcome", "reason"), rows) if rows else ""
    return text + (f"\n\nNothing was demanded by: {', '.join(map(plain, free))}." if free else "")


def _limits(facts: CardFacts) -> list[str]:
    found = limitations(facts.scores, facts.targets, facts.verdicts)
    lines = [f"- {plain(line)}" for line in found] or ["- No target was missed, and no slice lags by its interval."]
    return ["\n".join([*lines, "- Nothing beyond these rows was measured: other inputs, languages and uses are open."])]


def _recipes(recipes: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    for stage, recipe in recipes.items():
        yield f"### {plain(stage.upper())}"
        yield _table(("setting", "value"), recipe.items())
    if not recipes:
        yield "None."


def _datasets(datasets: Mapping[str, DatasetRef | None]) -> str:
    rows = [(use, f"{ref.rows:,}", ref.fingerprint) for use, ref in datasets.items() if ref]
    return _table(("used for", "rows", "fingerprint (sha256)"), rows)


def _meaning(name: str) -> str:
    return METRICS[name].meaning if name in METRICS else ""


def _titled(title: str, parts: Iterable[str]) -> Iterator[str]:
    yield f"## {title}"
    text = list(parts)
    yield "\n".join(text) if text and text[0].startswith("```") else "\n\n".join(text)


def _code(line: str) -> str:
    """A line of code that cannot end its block."""
    return " ".join(line.split()).replace("```", "'''")


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [[plain(cell) for cell in header], ["---"] * len(header), *([plain(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
