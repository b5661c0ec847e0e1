"""What a stage shows in the Prefect UI: one markdown artifact a stage, made from plain results.

Knows nothing of the terminal or the report, which draw the same objects their own way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prefect.artifacts import create_markdown_artifact

if TYPE_CHECKING:
    from posttrain.data.curate import CurateResult
    from posttrain.data.validate import ValidateResult
    from posttrain.evaluation.scores import Scores
    from posttrain.gates import Check, Verdict
    from posttrain.strategy import Decision
    from posttrain.training.result import PairsResult, TrainResult


def artifact(key: str, description: str, markdown: str) -> None:
    """Publish `markdown` under `key` (lower-case letters, digits and dashes)."""
    create_markdown_artifact(markdown, key=key.replace("_", "-"), description=description)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table; cells lose their line breaks and bars."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("\n", " ").replace("|", "\\|")[:200]


def validation(result: ValidateResult) -> str:
    """Rows in and out, and each rule's count with an example."""
    rows = [(rule.rule, rule.severity, rule.split, rule.rows, rule.example) for rule in result.rules]
    return (
        f"**{result.rows_in:,}** training rows in, **{result.rows_out:,}** out; "
        f"quarantined rows: `{result.quarantine.uri}`; Data Docs: `{result.data_docs}`\n\n"
        + table(("rule", "severity", "split", "rows", "example"), rows)
    )


def funnel(result: CurateResult) -> str:
    """Rows in and out of each curation step, with its reason."""
    rows = [
        (step.step, step.rows_in, step.rows_out, step.rows_out - step.rows_in, step.reason) for step in result.funnel
    ]
    return table(("step", "rows in", "rows out", "change", "reason"), rows)


def scores(measured: Sequence[Scores]) -> str:
    """One column a measurement, one row a metric, with 95 % intervals."""
    names = list(dict.fromkeys(name for each in measured for name in each.metrics))
    head = ["metric", *(f"{each.prompting}, {each.split}, {each.rows} rows" for each in measured)]
    rows = [[name, *(str(each.metrics.get(name, "")) for each in measured)] for name in names]
    return table(head, rows)


def verdict(judged: Verdict) -> str:
    """The gate's word, and the numbers behind it."""
    return f"**{'passed' if judged.passed else 'refused'}**: {judged.summary}\n\n" + table(
        ("metric", "value", "requirement", "reference", "gain", "95 % interval", "p", "passed"),
        [_check(check) for check in judged.checks],
    )


def _check(check: Check) -> list[object]:
    has_gain = check.gain_low is not None and check.gain_high is not None
    interval = f"[{check.gain_low:+.4f}, {check.gain_high:+.4f}]" if has_gain else ""
    gain = "" if check.gain is None else f"{check.gain:+.4f}"
    p_value = "" if check.p_value is None else f"{check.p_value:.4f}"
    passed = "yes" if check.passed else f"no: {check.reason}"
    return [check.metric, f"{check.value:.4f}", check.requirement, check.reference, gain, interval, p_value, passed]


def decision(made: Decision) -> str:
    """What was decided, why, and on what evidence."""
    reasons = "\n".join(f"- {reason}" for reason in made.reasons)
    return f"**{made.action}**\n\n{reasons}\n\n" + table(("evidence", "value"), made.evidence.items())


def training(result: TrainResult) -> str:
    """What training took, its last metrics and every value of its recipe."""
    return (
        f"{result.steps:,} steps over {result.rows:,} rows in {result.seconds:.0f} s, {result.restarts} restarts, "
        f"micro-batch {result.micro_batch_size} × accumulation {result.accumulation}\n\n"
        + table(("metric", "last value"), sorted(result.metrics.items()))
        + "\n\n"
        + table(("setting", "value"), result.recipe.items())
    )


def pairs(result: PairsResult) -> str:
    """How many pairs the policy made, and how far apart their halves are."""
    left_out = {"pairs"}
    values = result.model_dump(exclude=left_out)
    return table(("figure", "value"), [(key.replace("_", " "), value) for key, value in values.items()])


def in_words(measured: Scores) -> str:
    """The task's metrics on one line."""
    return ", ".join(
        f"{name.replace('_', ' ')} {score.value:.3f}"
        for name, score in measured.metrics.items()
        if name != "wrapper_consistency"
    )


def loss(result: TrainResult) -> str:
    """How far training went, on one line."""
    last = result.metrics.get("eval_loss", result.metrics.get("loss", float("nan")))
    name = "validation loss" if "eval_loss" in result.metrics else "loss"
    return f"{result.steps:,} steps, {name} {last:.4f}"
