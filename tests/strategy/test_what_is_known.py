"""What goes into a decision before `decide` is asked: quality, preferences, costs, and when a curve is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posttrain.artifacts import DatasetRef, ModelRef, Workspace, file_digest
from posttrain.data.curate import CurateResult
from posttrain.data.funnel import FunnelStep
from posttrain.data.validate import ValidateResult
from posttrain.data.validate.result import RuleCount
from posttrain.evaluation.scores import Score, Scores
from posttrain.spec import AlignSpec, PipelineSpec
from posttrain.spec.checks import contradictions
from posttrain.strategy import Decision, Evidence, curve, decide
from posttrain.strategy.costs import seconds_of_rungs
from posttrain.strategy.known import known_before
from posttrain.strategy.quality import preferences_of, quality_of
from posttrain.training.subset import subset

BASE = Path(__file__).resolve().parents[2] / "posttrain/models/tiny"


def spec(**strategy: Any) -> PipelineSpec:
    return PipelineSpec.model_validate(
        {
            "name": "x",
            "task": {"kind": "intent_slots"},
            "data": {"train": ["a.jsonl"], "test": ["b.jsonl"]},
            "strategy": {"targets": {"slot_f1": 0.8}, **strategy},
            "resources": {"price_per_hour": 2},
        }
    )


def test_money_needs_a_price() -> None:
    priced = spec(max_cost=1)
    free = priced.model_copy(update={"resources": priced.resources.model_copy(update={"price_per_hour": None})})
    assert not list(contradictions(priced))
    ((place, words),) = contradictions(free)
    assert place == ("strategy", "max_cost")
    assert "add it or use strategy.max_minutes" in words


def written(path: Path, rows: list[dict[str, str]]) -> DatasetRef:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(rows))


@pytest.fixture
def train(tmp_path: Path) -> DatasetRef:
    rows = [{"system": "", "prompt": f"play {n}", "completion": '{"intent": "Play", "slots": {}}'} for n in range(40)]
    return written(tmp_path / "train.parquet", rows)


def curated(train: DatasetRef, preference: DatasetRef | None = None, **counts: int) -> CurateResult:
    """Of 100 rows, curation's steps take so many each."""
    funnel, left = [], 100
    for step, gone in counts.items():
        funnel.append(FunnelStep(step=step, rows_in=left, rows_out=left - gone, reason="", examples=()))
        left -= gone
    return CurateResult(
        train=train,
        validation=train,
        test=train,
        general_held_out=None,
        preference=preference,
        dropped=train,
        funnel=tuple(funnel),
    )


def validated(train: DatasetRef, *rules: RuleCount) -> ValidateResult:
    parts = dict.fromkeys(("test", "quarantine", "warned"), train)
    none = dict.fromkeys(("general", "general_held_out", "preference"))
    kept = train.model_copy(update={"rows": 100})
    return ValidateResult.model_validate(
        {"train": kept, **parts, **none, "rules": rules, "rows_in": 1, "rows_out": 1, "data_docs": ""}
    )


def rule(name: str, rows: int, split: str = "train", severity: str = "quarantine") -> RuleCount:
    return RuleCount(rule=name, severity=severity, rows=rows, split=split)


def test_bad_rows_are_those_that_are_wrong_not_those_that_are_double(train: DatasetRef) -> None:
    """25 quarantined of 125 rows, then 10 harmful: 35 / 125 = 0.28; warnings, other splits, duplicates do not count."""
    found = quality_of(
        validated(
            train,
            rule("label", 25),
            rule("length", 9, severity="warn"),
            rule("label", 7, "general"),
            rule("label", 3, "test"),
        ),
        curated(train, exact_duplicate=20, harm=10, near_duplicate=5, split=30),
    )
    assert found.bad == {"label": 25, "harm": 10}
    assert found.rows == 125
    assert found.bad_share == pytest.approx(0.28)


def test_preferences_are_peoples_or_a_rankers(train: DatasetRef, tmp_path: Path) -> None:
    pairs = written(tmp_path / "pairs.parquet", [{"prompt": "a", "chosen": "b", "rejected": "c"}])
    single = written(tmp_path / "single.parquet", [{"prompt": "a", "completion": "b", "label": "true"}])
    verified, model = AlignSpec(), AlignSpec(ranker="reward-model", ranker_model="judge")
    assert preferences_of("text", curated(train, pairs), verified) == "people"
    assert preferences_of("text", curated(train, single), model) == "people"
    assert preferences_of("text", curated(train), verified) == "none"
    assert preferences_of("chat", curated(train), model) == "reward-model"
    assert preferences_of("extraction", curated(train), verified) == "verifier"


def base_of(tmp_path: Path) -> ModelRef:
    folder = next(path.parent for path in BASE.rglob("config.json"))
    return ModelRef(base=str(folder), fingerprint="x")


def test_costs_add_up_and_know_when_dpo_is_off(train: DatasetRef, tmp_path: Path) -> None:
    rows, base = curated(train), base_of(tmp_path)
    costs = seconds_of_rungs(spec(), base, rows)
    assert costs["align"] == pytest.approx(costs["sft"] + costs["align_base"])
    assert min(costs.values()) > 0
    assert set(seconds_of_rungs(spec(align="never"), base, rows)) == {"sft"}


def test_learning_from_people_what_to_reward_is_part_of_aligning(train: DatasetRef, tmp_path: Path) -> None:
    base = base_of(tmp_path)
    pairs = [{"system": "", "prompt": f"{n}", "chosen": "a" * 90, "rejected": "b" * 90} for n in range(400)]
    online = spec().model_copy(update={"align": AlignSpec(method="ppo")})
    with_pairs = online.model_copy(update={"data": online.data.model_copy(update={"preference": online.data.train})})
    given = curated(train, written(tmp_path / "pairs.parquet", pairs))

    without, learnt = seconds_of_rungs(online, base, curated(train)), seconds_of_rungs(with_pairs, base, given)
    assert learnt["sft"] == without["sft"]
    assert learnt["align"] - without["align"] == pytest.approx(learnt["align_base"] - without["align_base"])
    assert learnt["align"] > without["align"]
    assert seconds_of_rungs(with_pairs, base, curated(train)) == without


def test_everything_known_reaches_the_decision(train: DatasetRef, tmp_path: Path) -> None:
    half = Score(value=0.1, low=0.05, high=0.15)
    poor = scored(0.1, train).model_copy(update={"metrics": {"slot_f1": half, "valid_json": half}})
    evidence = known_before(
        spec(min_rows=10, max_minutes=0.01), base_of(tmp_path), validated(train), curated(train), poor, None
    )
    decision = decide(evidence)
    assert decision.action == "keep_prompt"
    assert "strategy.max_minutes allows 0.6 s" in decision.reasons[-1]
    assert decision.evidence["preferences"] == "verifier"
    (sft,) = [other for other in decision.alternatives if other.action == "sft"]
    assert sft.minutes is not None
    assert sft.money == pytest.approx(evidence.seconds["sft"] / 3600 * 2, abs=1e-3)


def scored(value: float, outputs: DatasetRef) -> Scores:
    return Scores(
        model=ModelRef(base="x", fingerprint="x"),
        split="validation",
        prompting="zero-shot",
        rows=200,
        metrics={"slot_f1": Score(value=value, low=value - 0.002, high=value + 0.002)},
        outputs=outputs,
        seconds=1,
    )


def _decided(usable_rows: int, train: DatasetRef) -> Decision:
    found = Evidence(
        step="baseline",
        kind="intent_slots",
        targets={"slot_f1": 0.8},
        usable_rows=usable_rows,
        zero_shot=scored(0.1, train),
    )
    return decide(found)


def test_a_curve_is_drawn_only_when_it_was_asked_for_and_would_help(train: DatasetRef) -> None:
    off, on = spec(), spec(learning_curve=True)
    few, enough = _decided(100, train), _decided(300, train)
    assert curve.wanted_before_collecting(on, few, 100)
    assert not curve.wanted_before_collecting(off, few, 100)
    assert not curve.wanted_before_collecting(on, enough, 300)
    assert not curve.wanted_before_collecting(on, few, 7)
    assert curve.wanted_after_sft(on, scored(0.7, train), 300)
    assert not curve.wanted_after_sft(off, scored(0.7, train), 300)
    assert not curve.wanted_after_sft(on, scored(0.9, train), 300)
    assert not curve.wanted_after_sft(spec(learning_curve=True, targets={}), scored(0.7, train), 300)


def test_the_curve_names_the_rows_that_the_target_needs(train: DatasetRef) -> None:
    """0.9 - 0.2 × (n / 1000) ** -0.5 is 0.5, 0.617, 0.7 at 250, 500, 1000 and 0.8 at 4,000."""
    measured = {250: scored(0.5, train), 1000: scored(0.7, train), 500: scored(0.61716, train)}
    needed = curve.rows_needed(spec(), measured)
    assert needed is not None
    assert needed.rows == pytest.approx(4000, rel=0.02)
    assert curve.rows_needed(spec(), {250: measured[250]}) is None
    assert curve.rows_needed(spec(targets={"exact_match": 0.5}), measured) is None
    assert curve.sizes(1000) == {25: 250, 50: 500}


def test_parts_of_the_rows_are_nested(train: DatasetRef, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    small, large = (subset(train, rows, workspace).result.train for rows in (10, 20))
    prompts = [pq.read_table(ref.uri)["prompt"].to_pylist() for ref in (small, large)]
    assert (small.rows, large.rows) == (10, 20)
    assert prompts[0] == prompts[1][:10]
    assert subset(train, 10, workspace).reused
