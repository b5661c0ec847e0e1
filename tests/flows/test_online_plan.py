"""The plan of an online method: its own stages in place of pairs and DPO, its own values."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SMALL_SPEC, small_project

from flows.planning import make_plan
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
