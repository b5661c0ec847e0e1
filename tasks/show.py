"""What a stage shows in the Prefect UI: one markdown artifact a stage, made from plain results.

Knows nothing of the terminal or the report, which draw the same objects their own way.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import httpx
from prefect import runtime
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from posttrain.data.rows import shorten
from posttrain.report import FunnelRow, RuleRow, curve
from posttrain.report import funnel as drawing

if TYPE_CHECKING:
    from posttrain.data.curate import CurateResult
    from posttrain.data.synthetic.stage import DistillResult
    from posttrain.data.validate import ValidateResult
    from posttrain.evaluation.scores import Scores
    from posttrain.faults import Retry
    from posttrain.gates import Check, Verdict
    from posttrain.spec import AlignSpec
    from posttrain.strategy import Decision
    from posttrain.training.result import PairsResult, TrainResult
    from posttrain.training.rewards import Addition


def artifact(key: str, description: str, markdown: str) -> None:
    """Publish `markdown` under `key` (lower-case letters, digits and dashes)."""
    create_markdown_artifact(markdown, key=key.replace("_", "-"), description=description)


def link(key: str, address: str, text: str) -> None:
    """Publish a link under `key`; nothing when there is no address."""
    if address:
        create_link_artifact(address, link_text=text, key=key.replace("_", "-"), description=text)


class ProgressBar:
    """A progress artifact of a stage that takes its time: made after `EVERY` seconds, renewed as often.

    A server that does not answer costs the bar, never the stage.
    """

    EVERY = 5.0

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._told = time.monotonic()
        self._artifact: UUID | None = None

    def show(self, done: float, total: float, note: str = "") -> None:
        """`done` of `total` units, and a word on what is going on."""
        now = time.monotonic()
        if total <= 0 or now - self._told < self.EVERY or not runtime.task_run.id:
            return
        self._told = now
        self._publish(min(100.0, 100 * done / total), note)

    def end(self) -> None:
        """The stage is done: the bar is full, if there is one."""
        if self._artifact is not None:
            self._publish(100.0, "")

    def _publish(self, percent: float, note: str) -> None:
        description = f"{self.stage}: {note}" if note else self.stage
        try:
            if self._artifact is None:
                key = f"{self.stage.replace('_', '-')}-progress"
                self._artifact = cast(UUID, create_progress_artifact(percent, key=key, description=description))
            else:
                update_progress_artifact(self._artifact, percent, description=description)
        except (PrefectException, httpx.HTTPError):
            return


def tries(stage: str, retry: Retry) -> None:
    """A warning in the task run's log, and an artifact of its own: which try failed, of what class, and why.

    Prefect gives the state between two tries no message.
    """
    then = f"next try after about {retry.wait:.0f} s" if retry.again else "no further try"
    get_run_logger().warning("%s: %s; %s", stage, retry, then)
    lines = [("try", f"{retry.attempt} of {retry.tries}"), ("class of fault", retry.kind), ("then", then)]
    try:
        artifact(f"{stage}-tries", "A try that failed", f"{table(('', ''), lines)}\n\n{retry.reason}")
    except (PrefectException, httpx.HTTPError):
        return  # the fault itself is what the task must end with


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table; cells lose their line breaks and bars."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("\n", " ").replace("|", "\\|")[:200]


def validation(result: ValidateResult) -> str:
    """Rows in and out, and each rule's count with an example."""
    rows = [
        (rule.rule, rule.severity, rule.split, f"{rule.rows:,}", plain(rule.example))
        for rule in sorted(result.rules, key=lambda rule: (rule.severity == "warn", -rule.rows))
    ]
    return (
        f"**{result.rows_in:,}** rows in, **{result.rows_out:,}** out; "
        f"quarantined rows: `{result.quarantine.uri}`; Data Docs: `{result.data_docs}`\n\n"
        + table(("rule", "then", "split", "rows", "for example"), rows)
        + "\n\nMore of a rule's rows: `posttrain rows list SPEC --rule RULE`"
    )


def funnel(result: CurateResult, validated: ValidateResult | None = None) -> str:
    """The picture, rows in and out per rule and step, and up to ten examples of each."""
    found = steps(result, validated)
    rows = [
        (step.stage, step.step, f"{step.rows_in:,}", f"{step.rows_out:,}", step.in_words, plain(step.reason))
        for step in found
    ]
    examples = [
        f"**{step.step}**\n\n" + "\n".join(f"- {plain(example)}" for example in step.examples)
        for step in found
        if step.examples
    ]
    image = f"![{drawing.summary(found)}]({drawing.data_uri(drawing.picture(found))})" if found else ""
    head = ("stage", "step", "rows in", "rows out", "of them", "reason")
    agreed: list[str] = []
    if result.agreement:
        people = agreement_table(result)["agreement"]
        lines = [list(person.values()) for person in people]
        agreed = [f"### {result.agreement.text()}", table(list(people[0]), lines)] if people else []
    others = [list(step.values()) for step in other_funnels(result)]
    beside = ["### Other parts", table(("part", "step", "rows in", "rows out", "reason"), others)] if others else []
    return "\n\n".join([image, table(head, rows), *beside, *agreed, "### Examples", *examples])


def other_funnels(result: CurateResult) -> list[dict[str, object]]:
    """A line for each step that rows beside those to train on went through, and that did or says something."""
    return [
        {"part": part, "step": step.step, "rows_in": step.rows_in, "rows_out": step.rows_out, "reason": step.reason}
        for part, steps in result.other_funnels.items()
        for step in steps
        if step.rows_in != step.rows_out or step.step == "length_bias"
    ]


def agreement_table(result: CurateResult) -> dict[str, list[dict[str, object]]]:
    """Annotators' figures as a table for MLflow; nothing when rows have no ratings."""
    found = result.agreement
    return {"agreement": [person.model_dump() for person in found.annotators]} if found else {}


def other_funnels_table(result: CurateResult) -> dict[str, list[dict[str, object]]]:
    """The other parts' steps as a table for MLflow; nothing when there are no other parts."""
    found = other_funnels(result)
    return {"other_funnels": found} if found else {}


def distilled(result: DistillResult) -> str:
    """What the calls came to, and what became of the answers."""
    figures = [
        ("answers", f"{result.calls:,} ({result.cached:,} from the cache)"),
        ("tokens", f"{result.input_tokens:,} in, {result.output_tokens:,} out"),
        ("cost", f"{result.cost:.2f}"),
        ("rows that go on", f"{result.rows.rows:,}"),
        ("stopped", result.stopped or "no"),
    ]
    lines = [(step.step, f"{step.rows_in:,}", f"{step.rows_out:,}", plain(step.reason)) for step in result.funnel]
    return table(("figure", "value"), figures) + "\n\n" + table(("step", "in", "out", "reason"), lines)


def steps(result: CurateResult, validated: ValidateResult | None = None) -> tuple[drawing.Station, ...]:
    """The funnel as `posttrain.report.funnel` draws it and as `funnel.table` gives it to MLflow."""
    return drawing.stations(
        [RuleRow.model_validate(rule) for rule in (validated.rules if validated else ())],
        [FunnelRow.model_validate(step) for step in result.funnel],
    )


def plain(text: str) -> str:
    """Text of a row, of which neither markdown nor HTML may be made: it must not load a picture or pose as a link."""
    return re.sub(r"([\\`*_{}\[\]<>()#!~&])", r"\\\1", shorten(text, 120))


def scores(measured: Sequence[Scores]) -> str:
    """One column a measurement and one for each of its slices, one row a metric, with 95 % intervals."""
    columns = {
        f"{each.asked}, {part or each.split}, {scored.rows} rows": scored
        for each in measured
        for part, scored in {"": each, **each.slices}.items()
    }
    names = list(dict.fromkeys(name for each in measured for name in each.metrics))
    head = ["metric", *columns]
    rows = [[name, *(str(scored.metrics.get(name, "")) for scored in columns.values())] for name in names]
    return table(head, rows)


def verdict(judged: Verdict) -> str:
    """The gate's word and why, and the numbers behind it: the outcome first, for wide tables are cut off there."""
    word, colon, reasons = judged.summary.partition(": ")
    return f"**{word}**{colon}{reasons}\n\n" + table(
        ("metric", "outcome", "value", "gain [95 %]", "p", "shows from", "requirement"),
        [_check(check) for check in judged.checks],
    )


def _check(check: Check) -> list[object]:
    has_gain = check.gain is not None and check.gain_low is not None and check.gain_high is not None
    gain = f"{check.gain:+.3f} [{check.gain_low:+.3f}, {check.gain_high:+.3f}]" if has_gain else ""
    p_value = "" if check.p_value is None else f"{check.p_value:.3g}"
    name = f"{check.slice}: {check.metric}" if check.slice else check.metric
    smallest = "" if check.detectable is None else f"{check.detectable:.3f}"
    outcome = check.outcome.replace("_", " ")
    return [name, outcome, f"{check.value:.3f}", gain, p_value, smallest, check.requirement]


def decision(made: Decision) -> str:
    """What was decided, why, and on what evidence."""
    reasons = "\n".join(f"- {reason}" for reason in made.reasons)
    turns = [(turn.question, turn.answer, "; ".join(turn.because)) for turn in made.path]
    others = [(other.action, other.why_not, _cost(other.minutes, other.money)) for other in made.alternatives]
    parts = [f"**{made.meaning}** {_cost(made.minutes, made.money)}", reasons]
    if turns:
        parts += ["### The way through the flowchart", table(("question", "answer", "because"), turns)]
    if others:
        parts += ["### Not chosen", table(("instead", "why not", "cost"), others)]
    return "\n\n".join([*parts, "### Numbers", table(("evidence", "value"), made.evidence.items())])


def _cost(minutes: float | None, money: float | None) -> str:
    spent = [f"{minutes:,.0f} minutes"] if minutes is not None else []
    spent += [f"{money:,.2f} in money"] if money is not None else []
    return f"(some {', '.join(spent)})" if spent else ""


def training(result: TrainResult) -> str:
    """What training took, its last metrics and every value of its recipe."""
    drawn = curve.picture(result.curve)
    image = f"![{_last_values(result)}]({drawing.data_uri(drawn)})\n\n" if drawn else ""
    return (
        image
        + f"{result.steps:,} steps over {result.rows:,} rows in {result.seconds:.0f} s, {result.restarts} restarts, "
        f"micro-batch {result.micro_batch_size} × accumulation {result.accumulation}, {_memory(result)}\n\n"
        + table(("metric", "last value"), sorted(result.metrics.items()))
        + "\n\n"
        + _guards(result)
        + table(("setting", "value"), result.recipe.items())
        + "".join(f"\n- {note}" for note in result.notes)
    )


def _last_values(result: TrainResult) -> str:
    """The picture in words, for those who do not see it."""
    return "Curve of the training; last " + ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())


def _guards(result: TrainResult) -> str:
    if not result.guards:
        return "Guards found nothing.\n\n"
    rows = [(one.guard, one.step, one.severity.replace("_", " "), one.diagnosis) for one in result.guards]
    return "### What guards found\n\n" + table(("guard", "step", "then", "diagnosis"), rows) + "\n\n"


def guards_table(result: TrainResult) -> dict[str, list[dict[str, object]]]:
    """What guards found, as a table for MLflow; nothing when they found nothing."""
    rows = [one.model_dump(include={"guard", "step", "since", "severity", "diagnosis"}) for one in result.guards]
    return {"guards": rows} if rows else {}


def guards_count(result: TrainResult) -> dict[str, float]:
    """How often guards spoke and how often they took the training back, as metrics."""
    taken_back = sum(one.severity == "roll_back" for one in result.guards)
    return {"guard_findings": float(len(result.guards)), "roll_backs": float(taken_back)}


def _memory(result: TrainResult) -> str:
    """The peak, and what was estimated of it."""
    expected = result.expected_memory_bytes
    beside = f" (estimated {expected / 1e9:.2f})" if expected else ""
    return f"{result.peak_memory_bytes / 1e9:.2f} GB at its peak{beside}"


def pairs(result: PairsResult) -> str:
    """How many pairs there are, how far apart their halves are, and what was set aside by which rule."""
    left_out = {"pairs", "set_aside", "dropped"}
    values = result.model_dump(exclude=left_out)
    figures = table(("figure", "value"), [(key.replace("_", " "), value) for key, value in values.items()])
    dropped = table(("rule", "pairs set aside"), result.dropped.items()) if result.dropped else "No pair was set aside."
    return f"{result.words}\n\n{figures}\n\n{dropped}\n\nPairs set aside: `{result.set_aside.uri}`"


def logged_pairs(result: PairsResult, spec: AlignSpec) -> dict[str, Any]:
    """What MLflow is told of pairs, whoever gave them: arguments of `StageRun.finish`."""
    return {
        "params": spec.model_dump(),
        "metrics": pair_metrics(result),
        "datasets": {"pairs": result.pairs},
        "tables": set_aside(result),
    }


def set_aside(result: PairsResult) -> dict[str, list[dict[str, object]]]:
    """The first pairs that were set aside, as a table for MLflow; nothing when none was."""
    from pyarrow import parquet

    if not result.set_aside.rows:
        return {}
    first = parquet.read_table(result.set_aside.uri).slice(0, SHOWN_ASIDE).to_pylist()
    return {"set_aside": [{name: shorten(str(value)) for name, value in row.items()} for row in first]}


SHOWN_ASIDE = 50


def pair_metrics(result: PairsResult) -> dict[str, float | None]:
    """The figures of pairs for MLflow; of each rule how many pairs it set aside."""
    lengths = ("chosen_characters", "rejected_characters", "chosen_longer")
    wanted = ("kept", "mean_reward", "mean_margin", *lengths, "overlap")
    return {name: getattr(result, name) for name in wanted} | {
        f"dropped/{rule}": count for rule, count in result.dropped.items()
    }


def in_words(measured: Scores) -> str:
    """The task's metrics on one line."""
    return ", ".join(
        f"{name.replace('_', ' ')} {score.value:.3f}"
        for name, score in measured.metrics.items()
        if name != "wrapper_consistency"
    )


def rewards(result: TrainResult, joined: Sequence[Addition]) -> str:
    """What training took, and whether signals that joined later hurt those before them."""
    told = [(one.added, one.signal, one.outcome, one.reason) for one in joined]
    parts = [table(("joined", "signal before it", "outcome", "reason"), told)] if told else []
    return "\n\n".join([training(result), *parts])


def rewarded(result: TrainResult) -> str:
    """How far learning from rewards went, on one line."""
    first, last = (point.metrics for point in (result.curve[0], result.curve[-1]))
    kl = last.get("objective/kl", float("nan"))
    return f"{len(result.curve):,} updates, reward {first['reward']:.3f} → {last['reward']:.3f}, KL {kl:.2f} nats"


def loss(result: TrainResult) -> str:
    """How far training went, and what was mended for it, on one line."""
    last = result.metrics.get("eval_loss", result.metrics.get("loss", float("nan")))
    name = "validation loss" if "eval_loss" in result.metrics else "loss"
    return "; ".join([f"{result.steps:,} steps, {name} {last:.4f}", *result.notes])
