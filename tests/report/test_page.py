"""The page is rendered from real result types and read back with an HTML parser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from reports import Page, decision

from posttrain import report
from posttrain.report.content import CurvePoint
from posttrain.strategy import Alternative, Decision, Turn
from posttrain.training import result as training


def test_the_page_shows_every_part(full: report.ReportInput) -> None:
    text = Page(report.render(full)).text
    for part in (
        "Not surely better than the champion.",
        "slot_f1 0.110 is below the target 0.80",
        "significantly above champion",
        "+0.007 -0.008 … +0.021",
        "champion 0.861",
        "x.gz:8121",
        "same prompt",
        "80 −20",
        "84 +4",
        "loss 0.500",
        "Luis (70 rows an intent)",
        "Scored per intent.",
        "0.868 0.818 – 0.918",
        "24.5",
        "3 min 20 s",
        "4.0 s reused",
        "models:/voice-assistant/4",
        'mlflow.pyfunc.load_model("models:/voice-assistant@challenger")',
        "a" * 16,
        "0" * 32,
    ):
        assert part in text


def test_the_page_needs_nothing_beside_it(full: report.ReportInput) -> None:
    html = report.render(full)
    tags = Page(html).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe"}
    assert not [value for _, attrs in tags for key, value in attrs.items() if key == "src"]
    assert all((attrs.get("href") or "#").startswith("#") for _, attrs in tags)
    assert "url(" not in html
    assert "@import" not in html
    policy = next(attrs["content"] for _, attrs in tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_text_from_data_and_models_is_escaped(full: report.ReportInput) -> None:
    attack = '<script>alert("1")</script><img src=x onerror=alert(1)>'
    row = report.SideBySide(prompt=attack, expected=attack, outputs={attack: attack}, right={attack: False})
    hostile = full.model_copy(update={"title": attack, "outputs": (row,), "spec_text": attack, "headline": attack})
    html = report.render(hostile)
    assert "<script" not in html
    assert "<img" not in html
    assert Page(html).text.count('<script>alert("1")</script>') >= 7


def test_the_path_is_told_in_the_order_of_the_flow(full: report.ReportInput) -> None:
    html = report.render(full)
    titles = re.findall(r"<h3>([^<]+?) <span", html.split("Why DPO")[0])
    assert titles == [
        "Does the base model need training?",
        "Gate after SFT",
        "Does SFT need preference alignment on top?",
        "Release gate",
        "Promotion",
    ]


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        ([decision("after_sft", "align", "errs on half")], "DPO was run. errs on half"),
        (
            [decision("after_sft", "release", "all targets are met")],
            "DPO was not run; the decision after SFT was: release the model after SFT. all targets are met",
        ),
        ([decision("baseline", "use_prompt", "good enough")], "DPO was not run: the chain ended before that question"),
    ],
)
def test_why_dpo_was_run_or_not_is_said(full: report.ReportInput, decisions: list[Decision], expected: str) -> None:
    page = Page(report.render(full.model_copy(update={"decisions": tuple(decisions)})))
    assert expected in page.text


def test_a_page_of_almost_nothing_still_stands() -> None:
    """An unneeded training run ends with advice: no curves, no gates, no registered model."""
    text = Page(report.render(report.ReportInput(title="x", ending="advice", headline="Keep the prompt."))).text
    assert "Keep the prompt." in text
    assert "Gates" not in text
    assert "nan" not in text.lower()


def test_write_makes_the_folder_and_leaves_no_scraps(full: report.ReportInput, tmp_path: Path) -> None:
    path = report.write(full, tmp_path / "reports" / "run.html")
    assert [file.name for file in path.parent.iterdir()] == ["run.html"]
    assert path.read_text(encoding="utf-8") == report.render(full)


def test_any_curve_point_will_do() -> None:
    point = training.CurvePoint(step=3, metrics={"loss": 1.0})
    curve = report.TrainingCurve(label="SFT", points=(point,))  # type: ignore[arg-type]
    assert curve.points == (CurvePoint(step=3, metrics={"loss": 1.0}),)


def test_slices_stand_below_the_scores(full: report.ReportInput) -> None:
    """A model that was not measured on a slice is not in its table."""
    first, *rest = full.scores
    part = first.scores.model_copy(update={"rows": 17})
    sliced = report.ScoreLine(label=first.label, scores=first.scores.model_copy(update={"slices": {"careless": part}}))
    page = Page(report.render(full.model_copy(update={"scores": (sliced, *rest)})))
    assert "Slice: careless" in page.text
    assert f"{first.label} 17" in page.text.split("Slice: careless")[1]
    assert "Slice:" not in Page(report.render(full)).text


def test_the_way_through_the_flowchart_and_what_was_not_chosen_are_told(full: report.ReportInput) -> None:
    made = decision("baseline", "sft", "must be learned").model_copy(
        update={
            "path": (Turn(question="Does the prompt meet the need?", answer="no", because=("slot_f1 0.05",)),),
            "alternatives": (Alternative(action="collect_data", why_not="there are enough rows", minutes=3.2),),
        }
    )
    text = Page(report.render(full.model_copy(update={"decisions": (made,)}))).text
    assert "Does the prompt meet the need? no slot_f1 0.05" in text
    assert "collect more data : there are enough rows (some 3 minutes)" in text
