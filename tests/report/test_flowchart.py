"""The chart with the way taken: every ending of the strategy has its place, and the lines lit are those walked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, get_args
from xml.etree import ElementTree

import pytest
from reports import STEPS, Page

from posttrain import report
from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.evaluation.learning_curve import RowsNeeded
from posttrain.evaluation.scores import Gain, Score, Scores
from posttrain.gates import Check, Verdict
from posttrain.report.content import Ending
from posttrain.report.deciding import notes
from posttrain.report.flowchart import BOXES, LEADS_TO, USUAL, asked_at, way
from posttrain.report.flowchart_drawing import flowchart
from posttrain.strategy import Action, Decision, Evidence, Limits, Quality, decide

TARGETS = {"slot_f1": 0.80, "valid_json": 0.99}
SECONDS = {"align_base": 600.0, "sft": 1200.0, "align": 2400.0}


def scored(slot_f1: float, valid_json: float = 1.0, slices: dict[str, Scores] | None = None) -> Scores:
    values = {"slot_f1": slot_f1, "valid_json": valid_json}
    return Scores(
        model=ModelRef(base="x", fingerprint="x"),
        split="validation",
        prompting="zero-shot",
        rows=200,
        metrics={name: Score(value=v, low=v - 0.02, high=v + 0.02) for name, v in values.items()},
        outputs=DatasetRef(uri="x", fingerprint="x", rows=200),
        slices=slices or {},
        seconds=1.0,
    )


GOOD, NEAR, HALFWAY, POOR = scored(0.85), scored(0.75), scored(0.6), scored(0.05, 0.2)
LAGS = scored(0.85, slices={"typos": HALFWAY})


def verdict(name: str, outcome: str = "passed") -> Verdict:
    check = {"metric": "slot_f1", "value": 0.868, "low": 0.85, "high": 0.88, "gain": 0.007, "requirement": "above"}
    made = Check.model_validate({**check, "outcome": outcome, "reason": "y", "rows_needed": 900})
    return Verdict(name=name, checks=(made,), summary=outcome)


def needed(answer: str) -> RowsNeeded:
    rows = 900 if answer == "reachable" else None
    return RowsNeeded.model_validate(
        {"metric": "slot_f1", "target": 0.8, "answer": answer, "tried": 500, "rows": rows}
        | {"low": None, "high": None, "words": "learning curve"}
    )


def evidence(**more: Any) -> Evidence:
    given = {"step": "baseline", "kind": "intent_slots", "targets": TARGETS, "usable_rows": 5000, "zero_shot": POOR}
    return Evidence.model_validate({**given, "seconds": SECONDS, "quality": Quality(rows=100, bad={"harm": 1}), **more})


def before_training() -> Iterator[Decision]:
    dear = Limits(max_minutes=5)
    for zero, few, rows, preferences, bad, limits, pattern in product(
        (GOOD, NEAR, POOR),
        (None, GOOD, POOR),
        (50, 5000),
        (None, "people", "verifier", "none"),
        (None, 1, 90),
        (Limits(), dear),
        ("auto", "no"),
    ):
        quality = None if bad is None else Quality(rows=100, bad={"harm": bad})
        yield decide(
            evidence(zero_shot=zero, few_shot=few, usable_rows=rows, preferences=preferences, quality=quality)
            .model_copy(update={"limits": limits, "new_pattern": pattern})
        )  # fmt: skip


def after_training() -> Iterator[Decision]:
    for scores, outcome, align, low, curve, limits in product(
        (GOOD, LAGS, HALFWAY, POOR),
        ("passed", "refused", "too_few_rows"),
        ("auto", "always", "never"),
        (-0.1, 0.1),
        (None, "reachable", "flat"),
        (Limits(), Limits(max_minutes=5)),
    ):
        gain = Gain(value=low + 0.2, low=low, high=low + 0.4, p_value=0.01, detectable=0.1, rows=200)
        known = evidence(align=align, limits=limits).with_sft(scores, gain, verdict("after_sft", outcome))
        yield decide(known.with_curve(needed(curve) if curve else None))


def told(
    *decisions: Decision, verdicts: tuple[Verdict, ...] = (), ending: Ending = "advice", alias: str | None = None
) -> report.ReportInput:
    lineage = report.Lineage(alias=alias, model_uri="models:/x/4" if alias else None)
    return report.ReportInput(
        title="x", ending=ending, headline="x", decisions=decisions, verdicts=verdicts, lineage=lineage, funnel=STEPS
    )


def test_every_end_of_the_strategy_has_its_box() -> None:
    """All that `decide` can say, over some thousand pieces of evidence: the way begins with data, passes every
    question that was asked, and ends where the decision leads; each pair of boxes on it is drawn as a lit line."""
    ends: set[Any] = set()
    sft = decide(evidence())
    cases = [*((each,) for each in before_training()), *((sft, each) for each in after_training())]
    seen: set[Any] = set()
    for decisions in cases:
        last = decisions[-1]
        verdicts = (verdict("after_sft"),) if last.step == "after_sft" else ()
        taken = way(told(*decisions, verdicts=verdicts))
        boxes = asked_at(last.aligner)
        assert all(turn.question in boxes and boxes[turn.question] in taken.keys for turn in last.path)
        assert taken.keys[0] == "data"
        end = LEADS_TO[last.step, last.action]
        assert end in taken.keys if last.action == "release" else taken.keys[-1] == end
        ends.add((last.step, last.action))
        if taken.keys not in seen:
            seen.add(taken.keys)
            drawn = flowchart(told(*decisions, verdicts=verdicts))
            assert drawn is not None
            assert {box.key for box in drawn.boxes if box.taken} == set(taken.keys)
            assert sum(edge.taken for edge in drawn.edges) == len(taken.edges)
    assert ends == set(LEADS_TO)
    assert {action for _, action in ends} == set(get_args(Action))


DEAR = Limits(max_minutes=25)
SFT = decide(evidence(few_shot=POOR))
TO_SFT = ("data", "prompt", "few_shot", "pattern", "fit", "enough", "limits", "sft")


def after(scores: Scores, **more: Any) -> Decision:
    gain = Gain(value=0.5, low=0.4, high=0.6, p_value=0.0001, detectable=0.05, rows=200)
    return decide(evidence(**more).with_sft(scores, gain, verdict("after_sft")))


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (told(decide(evidence(zero_shot=GOOD))), ("data", "prompt", "use_prompt")),
        (told(decide(evidence(few_shot=GOOD))), ("data", "prompt", "few_shot", "use_few_shot")),
        (told(SFT), TO_SFT),
        (
            told(SFT, after(GOOD), verdicts=(verdict("after_sft"), verdict("release")), alias="champion"),
            (*TO_SFT, "after_sft", "met", "release", "champion"),
        ),
        (
            told(
                SFT,
                after(LAGS),
                verdicts=(verdict("after_sft"), verdict("after_align"), verdict("release", "refused")),
                alias="challenger",
            ),
            (*TO_SFT, "after_sft", "met", "slice", "dpo_limits", "dpo", "after_align", "release", "challenger"),
        ),
        (
            told(
                decide(evidence(zero_shot=NEAR, preferences="people")),
                verdicts=(verdict("after_align", "refused"),),
                ending="refused",
            ),
            ("data", "prompt", "pattern", "prefer", "limits", "dpo", "after_align", "refused"),
        ),
        (  # asked again without pairs: the last answer counts
            told(
                decide(evidence(zero_shot=NEAR, preferences="verifier")),
                decide(evidence(zero_shot=NEAR, preferences="none")),
            ),
            ("data", "prompt", "pattern", "prefer", "keep_prompt"),
        ),
        (
            told(SFT, after(HALFWAY, limits=DEAR), verdicts=(verdict("after_sft"), verdict("release")),
                 alias="champion"),
            (*TO_SFT, "after_sft", "met", "able", "dpo_limits", "keep_sft", "release", "champion"),
        ),
    ],
    ids=["prompt", "few-shot", "advised", "champion", "challenger", "refused", "no pairs", "too dear"],
)  # fmt: skip
def test_the_way_of_a_whole_run(run: report.ReportInput, expected: tuple[str, ...]) -> None:
    assert way(run).keys == expected


@pytest.mark.parametrize(("outcome", "said"), [("passed", "passed"), ("refused", "refused: the model before DPO")])
def test_a_refused_dpo_says_which_model_goes_on(outcome: str, said: str) -> None:
    judged = (verdict("after_sft"), verdict("after_align", outcome), verdict("release"))
    drawn = flowchart(told(SFT, after(LAGS), verdicts=judged, alias="champion"))
    assert drawn is not None
    assert said in {edge.says for edge in drawn.edges if edge.taken}
    assert ("refused: the model before DPO" in {edge.says for edge in drawn.edges}) == (outcome == "refused")


def test_a_run_with_another_method_never_says_dpo() -> None:
    """Asked twice after SFT, once with more time, and refused behind alignment: every place that names the method."""
    first, last = after(HALFWAY, limits=DEAR, align_method="grpo"), after(HALFWAY, align_method="grpo")
    judged = (verdict("after_sft"), verdict("after_align", "refused"), verdict("release"))
    ran = told(decide(evidence(align_method="grpo")), last, verdicts=judged, alias="champion")
    for decisions in ((first, last), (last, first)):
        told_twice = ran.model_copy(update={"decisions": (ran.decisions[0], *decisions), "aligner": "GRPO"})
        page = Page(report.render(told_twice))
        assert "DPO" not in page.text
        assert "Gate after GRPO" in page.text
        assert "GRPO within limits?" in page.text
        assert "GRPO on top of SFT" in page.text
    assert "decided at first: GRPO on top of SFT" in page.text
    assert "DPO on top of SFT" in Page(report.render(told(SFT, after(HALFWAY)))).text


def test_each_box_on_the_way_says_its_number() -> None:
    """POOR has slot F1 0.05 of 0.80, a sixteenth, and valid JSON 0.20 of 0.99."""
    lags = told(SFT, after(LAGS), verdicts=(verdict("after_sft"), verdict("release", "too_few_rows")), alias="champion")
    assert notes(lags) == {
        "data": "900 rows → 750",
        "prompt": "slot F1 0.050 < 0.8",
        "few_shot": "slot F1 0.050 < 0.8",
        "pattern": "6% of the target reached",
        "fit": "1.0% of rows are bad",
        "enough": "5,000 rows ≥ 200",
        "limits": "SFT: ≈ 20 min 00 s",
        "sft": "advised, not run",
        "after_sft": "passed: slot F1 +0.007",
        "met": "valid JSON 1.000 ≥ 0.99",
        "slice": "typos: slot F1 0.600 < 0.8",
        "able": "gain +0.500, p < 0.001",
        "dpo_limits": "with SFT: ≈ 40 min 00 s",
        "dpo": "advised, not run",
        "release": "too few rows: slot F1 +0.007",
        "champion": "version 4",
    }
    reasoning = NEAR.model_copy(update={"prompting": "step-by-step"})
    told_steps = notes(told(decide(evidence(step_by_step=reasoning, preferences="none"))))
    assert told_steps["prompt"] == "slot F1 0.750 < 0.8"  # the best way to ask without examples
    assert (told_steps["pattern"], told_steps["keep_prompt"]) == ("94% of the target reached", "step by step")
    few = notes(told(decide(evidence(usable_rows=50))))
    assert (few["enough"], few["collect_data"]) == ("50 rows < 200", "150 more")


def test_boxes_do_not_overlap_and_lanes_do_not_either() -> None:
    drawn = flowchart(told(SFT, after(LAGS)))
    assert drawn is not None
    places = {(box.x, box.y) for box in drawn.boxes}
    assert len(places) == len(BOXES)
    assert max(box.x + box.width for box in drawn.boxes) <= drawn.width
    assert max(box.y for box in drawn.boxes) + drawn.box_height <= drawn.height
    lines = [edge.path for edge in drawn.edges]
    assert len(set(lines)) == len(lines)
    known = {box.key for box in BOXES}
    assert {key for edge in USUAL for key in (edge.start, edge.end)} <= known


def test_the_chart_is_in_the_page_and_is_told_to_those_who_do_not_see_it() -> None:
    page = Page(report.render(told(SFT, after(GOOD), verdicts=(verdict("release"),), alias="champion")))
    svg = next(attrs for tag, attrs in page.tags if tag == "svg" and attrs.get("class") == "flowchart")
    assert (svg["role"], svg["aria-labelledby"]) == ("img", "flowchart-title flowchart-way")
    assert "Prompt enough? no (slot F1 0.050 < 0.8); Few-shot enough? no" in page.text
    assert "Release gate (passed: slot F1 +0.007); Champion (version 4)." in page.text
    lit = [attrs["data-box"] for _, attrs in page.tags if "taken" in (attrs.get("class") or "") and "data-box" in attrs]
    assert lit == [*TO_SFT, "after_sft", "met", "release", "champion"]


def test_a_run_without_decisions_has_no_chart() -> None:
    assert flowchart(told()) is None
    assert '<svg class="flowchart"' not in report.render(told())


def test_text_in_the_chart_is_escaped_and_well_formed(full: report.ReportInput) -> None:
    hostile = SFT.model_copy(update={"evidence": {"target/<b>": 0.5, "zero_shot/<b>": 0.1, "preferences": "none"}})
    html = report.render(full.model_copy(update={"decisions": (hostile,)}))
    svg = html[html.index('<svg class="flowchart"') :].split("</svg>")[0] + "</svg>"
    texts = ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter("text")]
    assert "<b> 0.100 < 0.5" in texts
