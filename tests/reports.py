"""Reports of real result types, small outputs on disk, and a parser that reads a page back; for tests of the report."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet

from posttrain import report
from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.data.curate import FunnelStep
from posttrain.evaluation.published import Peer, Published
from posttrain.evaluation.scores import Score, Scores
from posttrain.gates import Check, Verdict
from posttrain.strategy import Decision
from posttrain.training import result as training

MODEL = ModelRef(base="tiny", fingerprint="b" * 16)


class Page(HTMLParser):
    """Text, tags and attributes of a page; fails on tags that do not close in order."""

    EMPTY = frozenset({"meta", "br", "circle", "line", "polyline"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All text, white space folded."""
        return " ".join(" ".join(self.words).split())


def outputs(folder: Path, name: str, right: list[bool], *, skip: int | None = None) -> Scores:
    """Scores over a real Parquet file; row i is exact when right[i]."""
    rows = [
        {"id": f"r{i}", "prompt": f"prompt {i}", "expected": "{}", "output": f"{name} {i}", "exact_match": float(ok)}
        for i, ok in enumerate(right)
        if i != skip
    ]
    path = folder / f"{name}.parquet"
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    return scores(sum(right) / len(right), DatasetRef(uri=str(path), fingerprint="f" * 16, rows=len(rows)))


def scores(value: float, ref: DatasetRef | None = None, **more: Score) -> Scores:
    """Scores with one value for slot F1."""
    return Scores(
        model=MODEL,
        split="test",
        prompting="zero-shot",
        rows=700,
        metrics={"slot_f1": Score(value=value, low=value - 0.05, high=value + 0.05), **more},
        outputs=ref or DatasetRef(uri="/nowhere", fingerprint="f" * 16, rows=1),
        seconds=1.0,
    )


def decision(step: str, action: str, reason: str) -> Decision:
    return Decision.model_validate({"step": step, "action": action, "reasons": (reason,), "evidence": {"rows": 12}})


def full_report() -> report.ReportInput:
    """A run that went all the way, and was refused at release."""
    check = Check(
        metric="slot_f1",
        value=0.868,
        low=0.85,
        high=0.88,
        reference="champion",
        reference_value=0.861,
        gain=0.007,
        gain_low=-0.008,
        gain_high=0.021,
        p_value=0.36,
        requirement="significantly above champion",
        outcome="refused",
        reason="slot_f1 0.868 is not surely better than the champion's 0.861",
    )
    points = tuple(training.CurvePoint(step=10 * i, metrics={"loss": 2.0 / i, "eval_loss": 2.5 / i}) for i in (1, 2, 4))
    perplexity = Score(value=24.5, low=23.0, high=26.0)
    return report.ReportInput(
        title="voice-assistant",
        ending="challenger",
        headline="Not surely better than the champion.",
        decisions=(
            decision("after_sft", "align", "the model knows the task and still errs"),
            decision("baseline", "sft", "slot_f1 0.110 is below the target 0.80"),
        ),
        verdicts=(
            Verdict(name="release", checks=(check,), summary="refused"),
            Verdict(name="after_sft", checks=(), summary="passed: the spec demands nothing here"),
        ),
        rules=(
            report.RuleRow(rule="encoding", severity="quarantine", rows=15, split="train", examples=("x.gz:8121",)),
        ),
        funnel=[  # type: ignore[arg-type]  # the stage's own type is copied by its attributes
            FunnelStep(step="exact_duplicates", rows_in=100, rows_out=80, reason="same prompt", examples=("a = b",)),
            FunnelStep(step="mix", rows_in=80, rows_out=84, reason="general rows mixed in", examples=()),
        ],
        curves=(report.TrainingCurve(label="SFT", points=points, recipe={"learning_rate": 2e-4}),),  # type: ignore[arg-type]
        scores=(
            report.ScoreLine(label="Base, zero-shot", scores=scores(0.11)),
            report.ScoreLine(label="DPO", scores=scores(0.868, perplexity=perplexity)),
        ),
        targets={"slot_f1": 0.8},
        published=Published(
            peers=(Peer(name="Luis", metrics={"slot_f1": 0.73}, note="70 rows an intent"),),
            source="nlu-benchmark",
            note="Scored per intent.",
        ),
        stages=(
            report.StageCost(name="validate", seconds=4.0, reused=True),
            report.StageCost(name="sft", seconds=200.0, reused=False),
        ),
        lineage=report.Lineage(
            model_uri="models:/voice-assistant/4",
            alias="challenger",
            alias_reasons=("not surely better",),
            load_line='mlflow.pyfunc.load_model("models:/voice-assistant@challenger")',
            datasets={"train": "a" * 16},
            mlflow_run_id="0" * 32,
        ),
    )


def rule(name: str, rows: int, **more: str) -> report.RuleRow:
    given = {
        "rule": name,
        "severity": "quarantine",
        "rows": rows,
        "split": "train",
        "examples": (f"{name}.jsonl:1",),
        **more,
    }
    return report.RuleRow.model_validate(given)


def step(name: str, rows_in: int, rows_out: int, review: int = 0, examples: tuple[str, ...] = ()) -> report.FunnelRow:
    return report.FunnelRow(
        step=name, rows_in=rows_in, rows_out=rows_out, reason=f"why {name}", examples=examples, review=review
    )


RULES = (
    rule("encoding", 30),
    rule("length", 70),
    rule("trimmed", 5, severity="warn"),
    rule("length", 4, split="general"),
)


STEPS = (
    step("clean", 900, 900),
    step("harm", 900, 800, review=40, examples=("a", "b")),
    step("split", 800, 700),
    step("mix", 700, 750),
)
