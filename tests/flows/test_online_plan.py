"""The plan of an online method: its own stages in place of pairs and DPO, its own values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import SMALL_SPEC, Project, small_project

from flows.cli.plan_command import show_plan
from flows.cli.planning import Plan, dangers, make_plan
from posttrain import preflight


@pytest.mark.parametrize("method", ["ppo", "rloo"])
def test_its_stages_stand_where_pairs_and_dpo_stood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    project = small_project(tmp_path / "project")
    text = SMALL_SPEC.replace("align: {prompts: 24", f"align: {{method: {method}, prompts: 24")
    project.spec.write_text(text, encoding="utf-8")
    monkeypatch.chdir(project.root)

    plan = make_plan(preflight.check(project.spec))

    names = [stage.name for stage in plan.stages]
    assert names[-3:] == [method, f"after-{method}", "test"]
    assert not {"pairs", "dpo", "after-dpo"} & set(names)
    planned = next(stage for stage in plan.stages if stage.name == method)
    assert (planned.state, planned.seconds > 0) == ("may run", True)
    assert "2,560 answers, sampled, rewarded and trained on" in planned.why
    assert plan.align["learning_rate"] == 1e-4


PAIRS = 1_000


def with_pairs(folder: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> Project:
    """The small project with a thousand pairs of people's, aligned by GRPO, and `more` below its spec."""
    project = small_project(folder / "project")
    text = SMALL_SPEC.replace("align: {prompts: 24, samples: 4", "align: {method: grpo, prompts: 24, samples: 4")
    text = text.replace("  general: ", "  preference: [data/pairs.jsonl]\n  general: ")
    project.spec.write_text(text + more, encoding="utf-8")
    pair = {"prompt": "Which of the two is it?", "chosen": "It is the first of them.", "rejected": "Neither is."}
    lines = [json.dumps({**pair, "prompt": f"{number}: {pair['prompt']}"}) for number in range(PAIRS)]
    (project.root / "data/pairs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.chdir(project.root)
    return project


def plan_of(project: Project) -> Plan:
    return make_plan(preflight.check(project.spec))


def test_the_reward_model_has_its_values_and_its_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = with_pairs(tmp_path, monkeypatch)
    plan = plan_of(project)

    stages = {stage.name: stage for stage in plan.stages}
    assert list(stages)[-5:] == ["pairs", "reward-model", "grpo", "after-grpo", "test"]
    learnt = stages["reward-model"]
    assert learnt.state == "may run"
    assert learnt.why.startswith("if targets are missed after SFT: 1 × 1,000 pairs, two rows of about ")
    assert learnt.seconds > 0
    assert learnt.memory_bytes > stages["sft"].memory_bytes / 10
    assert "not estimated" not in stages["pairs"].why
    assert plan.reward_model is not None
    assert plan.reward_model["batch_size"] == 32  # from a thousand pairs on
    assert plan.reward_model["num_train_epochs"] == 1

    monkeypatch.setenv("COLUMNS", "160")
    show_plan(project.spec)
    shown = capsys.readouterr().out
    assert "Reward model (full): values and why" in shown


def test_its_own_values_decide_and_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = {stage.name: stage for stage in plan_of(with_pairs(tmp_path / "once", monkeypatch)).stages}
    given = "reward_model: {num_train_epochs: 3, learning_rate: 0.5, method: lora}\n"
    project = with_pairs(tmp_path / "thrice", monkeypatch, given)
    plan = plan_of(project)

    stages = {stage.name: stage for stage in plan.stages}
    assert ": 3 × 1,000 pairs" in stages["reward-model"].why
    assert stages["reward-model"].why.endswith("lora")
    assert stages["reward-model"].seconds > once["reward-model"].seconds
    assert stages["sft"].seconds == once["sft"].seconds
    (warning,) = [danger for danger in plan.dangers if danger.startswith("reward_model: learning_rate 0.5 is ")]
    assert warning in dangers(preflight.check(project.spec))


@pytest.mark.parametrize(
    "more", ["rewards: {signals: [{name: verifier, weight: 1}]}\n", "rewards: {signals: [{name: kl, weight: 1}]}\n"]
)
def test_where_nobody_asks_what_people_prefer_none_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    plan = plan_of(with_pairs(tmp_path, monkeypatch, more))
    assert plan.reward_model is None
    assert not {"pairs", "reward-model"} & {stage.name for stage in plan.stages}
