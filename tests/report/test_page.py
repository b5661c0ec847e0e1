"""The page is rendered from real result types and read back with an HTML parser."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet
from reports import Page, decision, scores

from posttrain import report
from posttrain.artifacts import DatasetRef
from posttrain.evaluation.scores import Score, Scores
from posttrain.report.content import CurvePoint
from posttrain.report.figures import slice_strips
from posttrain.strategy import Alternative, Turn
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
    titles = re.findall(r"<h3>([^<]+?) <span", html.split('<section id="gates">')[0])
    assert titles == [
        "Does the base model need training?",
        "Gate after SFT",
        "Does SFT need preference alignment on top?",
        "Release gate",
        "Promotion",
    ]


def test_why_dpo_was_run_is_said_once(full: report.ReportInput) -> None:
    decided = (decision("after_sft", "align", "errs on half of the careless rows"),)
    text = Page(report.render(full.model_copy(update={"decisions": decided}))).text
    assert "DPO on top of SFT" in text
    assert text.count("errs on half of the careless rows") == 1


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


def test_a_confusion_table_of_few_labels_is_shown_whole_and_of_many_by_its_mistakes(
    full: report.ReportInput, tmp_path: Path
) -> None:
    """Three rows: play is taken for book once; then thirteen labels, of which one is taken for another."""
    rows = [("play", "play"), ("play", "book"), ("book", "book")]
    few = report.confusion_of("SFT", labelled(tmp_path, "few", rows))
    assert few is not None
    assert (few.expected, few.predicted) == (("book", "play"), ("book", "play", "other"))
    assert few.counts == ((1, 0, 0), (1, 1, 0))
    text = Page(report.render(full.model_copy(update={"confusion": few}))).text
    assert "Expected book play other book 1 0 0 play 1 1 0" in text
    many = [*((f"l{i}", f"l{i}") for i in range(13)), ("l1", "l2")]
    text = Page(
        report.render(
            full.model_copy(update={"confusion": report.confusion_of("SFT", labelled(tmp_path, "many", many))})
        )
    ).text
    assert "the commonest mistakes among 13 labels. Expected Taken for Rows of l1 l2 1 2" in text
    assert report.confusion_of("SFT", scores(0.5)) is None


def labelled(folder: Path, name: str, rows: list[tuple[str, str]]) -> Scores:
    table = [{"id": str(i), "label_expected": want, "label_predicted": got} for i, (want, got) in enumerate(rows)]
    path = folder / f"{name}.parquet"
    parquet.write_table(arrow.Table.from_pylist(table), path)
    ref = DatasetRef(uri=str(path), fingerprint=name, rows=len(rows))
    return scores(0.5, ref, macro_f1=Score(value=0.5, low=0.4, high=0.6))


def test_a_learning_curve_is_drawn_with_its_target(full: report.ReportInput) -> None:
    points = tuple(
        (rows, Score(value=v, low=v - 0.1, high=v + 0.1)) for rows, v in ((250, 0.3), (500, 0.5), (1000, 0.6))
    )
    curve = report.RowsCurve(metric="slot_f1", target=0.8, points=points, words="0.8 needs some 2,400 rows in all")
    page = Page(report.render(full.model_copy(update={"rows_curve": curve, "curves": ()})))
    assert "Learning curve 0.8 needs some 2,400 rows in all" in page.text
    assert "rows trained on" in page.text
    assert "target 0.800" in page.text
    assert sum(attrs.get("class") == "whisker" for _, attrs in page.tags) == 3


def test_money_is_told_when_an_hour_has_a_price(full: report.ReportInput) -> None:
    """200 s of this run and 4 s that were found, at 36 an hour: a cent a second."""
    text = Page(report.render(full.model_copy(update={"price_per_hour": 36.0}))).text
    assert "At 36.00 an hour this run cost 2.00 , 2.04 with the stages that were found." in text
    assert "sft 3 min 20 s 2.00" in text
    assert "an hour this run cost" not in Page(report.render(full)).text


def test_how_to_reproduce_names_commands_data_and_versions(full: report.ReportInput) -> None:
    again = report.Reproduction(
        commands=("git checkout abc", "make install", ".venv/bin/posttrain run x.yaml"),
        warning="The checkout had changes that are in no commit.",
        versions=report.library_versions(),
        datasets={"train": ("a1b2", 4200)},
    )
    text = Page(report.render(full.model_copy(update={"reproduction": again}))).text
    assert "git checkout abc make install .venv/bin/posttrain run x.yaml The checkout had changes" in text
    assert "train 4,200 a1b2" in text
    assert f"torch {version('torch')}" in text


def test_slices_are_drawn_metric_by_metric(full: report.ReportInput) -> None:
    """Slot F1 has a target; both models stand in the slice's group, and on all rows."""
    lines = tuple(
        line.model_copy(
            update={"scores": line.scores.model_copy(update={"slices": {"typos": scores(0.4), "safety": scores(1)}})}
        )
        for line in full.scores
    )
    (drawn,) = slice_strips(full.model_copy(update={"scores": lines}))
    assert (drawn.metric, drawn.target_text) == ("slot_f1", "0.800")
    assert [(mark.group, mark.label, mark.value) for mark in drawn.marks] == [
        ("all rows", "Base, zero-shot", "0.110"),
        ("all rows", "DPO", "0.868"),
        ("typos", "Base, zero-shot", "0.400"),
        ("typos", "DPO", "0.400"),
    ]


def test_a_question_asked_again_is_told_once(full: report.ReportInput) -> None:
    asked = (decision("baseline", "align_base", "near enough"), decision("baseline", "keep_prompt", "no pairs"))
    text = Page(report.render(full.model_copy(update={"decisions": asked}))).text
    assert text.count("Does the base model need training?") == 1
    assert "asked again; decided at first: DPO on the base model, without SFT no pairs" in text
