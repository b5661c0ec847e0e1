"""A whole run for the report, made of real artifacts: outputs that are measured and judged, decisions that are decided.

Only training is left out: the "models" answer by a rule, worse and better.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
from reports import RULES, STEPS

from posttrain import gates, report
from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.evaluation.metrics import METRICS, Answer, names, row_values
from posttrain.evaluation.scores import Scores
from posttrain.evaluation.statistics import interval
from posttrain.spec.sections.gates import Gate
from posttrain.strategy import Evidence, Quality, decide
from posttrain.training.result import CurvePoint

KIND = "intent_slots"
TARGETS = {"slot_f1": 0.8, "valid_json": 0.99}
ROWS = 60
RESAMPLES = 200


def whole_run(folder: Path) -> report.ReportInput:
    """Zero-shot and few-shot miss, SFT meets the targets but lags on a slice, DPO mends it, the release gate passes."""
    zero, few = measured(folder, "zero", 0.0), measured(folder, "few", 0.15)
    sft, dpo = measured(folder, "sft", 0.85), measured(folder, "dpo", 0.95)
    test = measured(folder, "test", 0.93).model_copy(update={"split": "test"})
    known = Evidence(
        step="baseline",
        kind=KIND,
        targets=TARGETS,
        usable_rows=750,
        seconds={"sft": 300.0, "align_base": 200.0, "align": 500.0},
        quality=Quality(rows=1000, bad={"harm": 60}),
        preferences="verifier",
        zero_shot=zero,
        few_shot=few,
    )
    better = gate("slot_f1", above="baseline", significant=True)
    after = gates.judge("after_sft", [better], sft, {"baseline": few}, RESAMPLES)
    gain = gates.compare(sft, few, "slot_f1", RESAMPLES)
    decisions = (decide(known), decide(known.with_sft(sft, gain, after)))
    no_worse = gate("slot_f1", not_worse_than="previous", margin=0.05)
    align = gates.judge("after_align", [no_worse], dpo, {"previous": sft}, RESAMPLES)
    release = gates.judge("release", [gate("valid_json", at_least=0.9), gate("slot_f1", at_least=0.8)], test, {})
    labelled = {"Base, zero-shot": zero, "Base, few-shot": few, "SFT": sft, "DPO": dpo}
    changes = [report.compare_outputs(one, labelled[one], "DPO", labelled["DPO"]) for one in ("Base, few-shot", "SFT")]
    points = tuple(CurvePoint(step=5 * i, metrics={"loss": 2 / i, "eval_loss": 2.4 / i}) for i in range(1, 20))
    return report.ReportInput(
        title="voice-assistant",
        ending="promoted",
        headline="voice-assistant version 4 is champion: better than version 3",
        listings=report.listings("Test", test),
        facts={"task": KIND, "base": "tiny", "spec": "pipelines/voice_assistant.yaml", "finished": "2026-11-21 22:00"},
        decisions=decisions,
        verdicts=(after, align, release),
        rules=RULES,
        funnel=STEPS,
        curves=(report.TrainingCurve.model_validate({"label": "SFT", "points": points}, from_attributes=True),),
        scores=tuple(report.ScoreLine(label=label, scores=each) for label, each in {**labelled, "Test": test}.items()),
        targets=TARGETS,
        changes=tuple(each for each in changes if each),
        outputs=report.side_by_side(labelled, 4),
        confusion=report.Confusion(
            label="Test",
            expected=("play", "weather", "book"),
            predicted=("play", "weather", "book", "other"),
            counts=((19, 1, 0, 0), (2, 18, 0, 0), (0, 0, 19, 1)),
        ),
        rows_curve=report.RowsCurve(
            metric="slot_f1",
            target=0.8,
            points=((188, few.metrics["slot_f1"]), (375, sft.metrics["slot_f1"]), (750, dpo.metrics["slot_f1"])),
        ),
        stages=(
            report.StageCost(name="baseline-zero-shot", seconds=20, reused=True),
            report.StageCost(name="sft", seconds=310, reused=False),
        ),
        price_per_hour=2.5,
        lineage=report.Lineage(model_uri="models:/voice-assistant/4", alias="champion", mlflow_run_id="0" * 32),
        reproduction=report.Reproduction(
            commands=(
                "git checkout " + "a" * 40,
                "make install",
                ".venv/bin/posttrain run pipelines/voice_assistant.yaml",
            ),
            versions=report.library_versions(),
            datasets={"train": ("a1b2c3d4e5f60718", 750)},
        ),
    )


def measured(folder: Path, name: str, right: float) -> Scores:
    """Scores of a model that gets about this share of rows right; worse on the slice `typos`."""
    whole = _scores(folder, name, right, range(ROWS))
    return whole.model_copy(update={"slices": {"typos": _scores(folder, f"{name}-typos", right * 0.5, range(ROWS))}})


def _scores(folder: Path, name: str, right: float, rows: range) -> Scores:
    asked = [_row(i) for i in rows]
    outputs = [_answer(expected, right, i) for i, (_, expected) in enumerate(asked)]
    answers = [Answer(KIND, expected, out, prompt) for (prompt, expected), out in zip(asked, outputs, strict=True)]
    counted = row_values(answers, [METRICS[metric] for metric in names(KIND)])
    table = [
        {"id": f"r{i}", "prompt": prompt, "expected": expected, "output": out, **values, **_ended(out)}
        for i, ((prompt, expected), out, values) in enumerate(zip(asked, outputs, counted, strict=True))
    ]
    path = folder / f"{name}.parquet"
    parquet.write_table(arrow.Table.from_pylist(table), path)
    metrics = {}
    for metric in names(KIND):
        columns = np.array([[row[column] for column in METRICS[metric].columns] for row in table], dtype=float)
        metrics[metric] = interval(columns, METRICS[metric].total, RESAMPLES)
    return Scores(
        model=ModelRef(base="tiny", fingerprint=name),
        split="validation",
        prompting="few-shot" if name == "few" else "zero-shot",
        rows=len(table),
        metrics=metrics,
        outputs=DatasetRef(uri=str(path), fingerprint=name, rows=len(table)),
        seconds=1.0,
    )


def _ended(output: str) -> dict[str, float]:
    """JSON ends by itself; the prose of a model that does not know what to say runs on."""
    stopped = float(output.endswith("}"))
    return {"stopped": stopped, "generated": 1.0, "stop_rate": stopped}


def gate(metric: str, **more: object) -> Gate:
    return Gate.model_validate({"metric": metric, **more})


def _row(i: int) -> tuple[str, str]:
    artist = ("Miles Davis", "Nina Simone", "Björk")[i % 3]
    slots = {"artist": artist, "service": ("Spotify", "Deezer")[i % 2]}
    return f"play something by {artist} on {slots['service']}, take {i}", json.dumps(
        {"intent": "PlayMusic", "slots": slots}
    )


def _answer(expected: str, right: float, i: int) -> str:
    """The expected text, or one with a wrong value, or prose; which rows are right does not depend on the model."""
    if (i * 37 % ROWS) / ROWS < right:
        return expected
    return expected.replace("Spotify", "Sportify").replace("Deezer", "the radio") if right > 0.5 else "I am not sure."
