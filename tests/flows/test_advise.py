"""Advice: the path, the cost and the alternatives on the terminal; plan and advice agree; nothing is trained."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from conftest import Pipeline, small_project
from rich.console import Console

from flows.cli.advise_command import print_advice
from flows.cli.planning import CURVE, make_plan
from posttrain import preflight
from posttrain.outcome import Outcome
from posttrain.strategy import Alternative, Decision, Turn

DECISION = Decision(
    step="baseline",
    action="sft",
    reasons=("the prompt alone: slot_f1 0.1 misses the target 0.8", "5000 usable rows [are] enough"),
    evidence={"usable_rows": 5000},
    path=(
        Turn(question="Does the prompt meet the need?", answer="no", because=("slot_f1 0.100 [0.080, 0.120]",)),
        Turn(question="Is there enough data?", answer="yes", because=("5000 usable rows " + "and more " * 20,)),
    ),
    alternatives=(
        Alternative(action="use_prompt", why_not="misses slot_f1 0.100 [0.080, 0.120], target 0.8"),
        Alternative(action="align", why_not="asked again after SFT", minutes=30, money=1.5),
    ),
    minutes=12.5,
    money=0.62,
)
OUTCOME = Outcome(
    name="x",
    ending="advice",
    headline="x",
    decisions=(DECISION,),
    verdicts=(),
    scores=(),
    stage_seconds={},
    reused=(),
    mlflow_uri="x",
    mlflow_run_id="run1",
    report="/reports/index.html",
    data_docs="/docs/index.html",
)


def printed(outcome: Outcome, width: int = 80) -> str:
    out = io.StringIO()
    print_advice(Console(file=out, width=width, force_terminal=False), outcome, Path("small.yaml"))
    return out.getvalue()


def test_the_path_the_cost_and_the_alternatives_are_readable_at_80_columns() -> None:
    text = printed(OUTCOME)
    assert max(map(len, text.splitlines())) <= 80
    for expected in (
        "Does the prompt meet the need? no",
        "slot_f1 0.100 [0.080, 0.120]",
        "→ SFT, ≈ 12 min 30 s, 0.62",
        "5000 usable rows [are] enough",
        "≈ 30 min 00 s, 1.50",
        "posttrain run small.yaml does it",
        "/reports/index.html",
    ):
        assert expected in text


def test_advice_that_trains_nothing_offers_no_run() -> None:
    advice = DECISION.model_copy(update={"action": "collect_data", "minutes": None, "money": None})
    text = printed(OUTCOME.model_copy(update={"decisions": (advice,)}))
    assert "→ collect more data" in text
    assert "does it" not in text


def test_a_plan_names_the_stages_of_a_learning_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = small_project(tmp_path / "project")
    monkeypatch.chdir(project.root)
    text = project.spec.read_text(encoding="utf-8")
    project.spec.write_text(text.replace("align: always", "learning_curve: true"), encoding="utf-8")
    plan = make_plan(preflight.check(project.spec))
    stages = {stage.name: stage for stage in plan.stages}
    assert [name for name in stages if name in CURVE] == ["sft-25", "after-sft-25", "sft-50", "after-sft-50"]
    assert stages["sft-25"].seconds == pytest.approx(stages["sft"].seconds / 4)
    assert stages["sft-50"].state == "may run"
    assert plan.decision is None  # nothing was measured yet


def test_plan_and_advice_agree_and_advice_trains_nothing(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both after a run, with an SFT setting changed: only what comes before SFT is there."""
    monkeypatch.chdir(pipeline.project.root)
    changed = pipeline.project.root / "advised.yaml"
    text = pipeline.project.spec.read_text(encoding="utf-8")
    changed.write_text(text.replace("learning_rate: 0.001", "learning_rate: 0.0007"), encoding="utf-8")
    stages = pipeline.project.root / ".posttrain/stages"
    before = {folder.name for folder in stages.iterdir()}

    planned = make_plan(preflight.check(changed)).decision
    advised = pipeline.project.posttrain("advise", "advised.yaml", COLUMNS="80")

    changed.unlink()
    assert advised.returncode == 0, advised.stdout + advised.stderr
    assert {folder.name for folder in stages.iterdir()} == before
    assert planned is not None
    assert planned.action == "sft"
    told = " ".join(advised.stdout.split())
    assert "→ SFT" in told
    assert planned.reasons[-1] in told
    assert "posttrain run advised.yaml does it" in told
