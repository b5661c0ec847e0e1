"""The page is rendered from real result types and read back with an HTML parser."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from posttrain import report
from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.data.curate import FunnelStep
from posttrain.evaluation.published import Peer, Published
from posttrain.evaluation.scores import Score, Scores
from posttrain.gates import Check, Verdict
from posttrain.report import funnel
from posttrain.report.charts import line_chart, nice_ticks, strip, thinned
from posttrain.report.content import CurvePoint
from posttrain.strategy import Alternative, Decision, Turn
from posttrain.training import result as training
from posttrain.wording import duration, number

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


@pytest.fixture
def full() -> report.ReportInput:
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


# --- the funnel ----------------------------------------------------------------------------------------------


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


def test_validation_and_curation_are_one_stream() -> None:
    """900 rows came to curation and 30 + 70 were quarantined before, so 1,000 were read; warnings take none away."""
    found = funnel.stations(RULES, STEPS)
    assert [(each.stage, each.step, each.rows_in, each.rows_out) for each in found[:3]] == [
        ("Validation", "encoding", 1000, 970),
        ("Validation", "length", 970, 900),
        ("Curation", "clean", 900, 900),
    ]
    assert [each.flows for each in found[3:]] == [{"aside": 60, "review": 40}, {"held": 100}, {"added": 50}]
    assert found[3].in_words == "60 set aside, 40 to review"
    assert funnel.stations(RULES[:1], (), valid=900)[0].rows_in == 930
    assert funnel.summary(found).startswith("1,000 rows read, 750 to train on. encoding 30 set aside; length 70")
    assert (funnel.stations((), ()), funnel.summary(()), funnel.picture(())) == ((), "", "")


def test_at_most_ten_examples_are_shown() -> None:
    many = tuple(f"row {number}" for number in range(12))
    assert funnel.stations((), (step("near", 20, 8, examples=many),))[0].examples == many[:10]
    shown = funnel.stations((rule("length", 3).model_copy(update={"examples": many[:3]}),), STEPS)[0]
    assert shown.examples == many[:3]


def test_the_stream_is_as_wide_as_there_are_rows() -> None:
    """Of 1,000 rows 62 % of the box is taken; 900 rows, which is what clean has, take 55.8 %."""
    begins, drawn = funnel.draw(funnel.stations(RULES, STEPS))
    assert begins == pytest.approx(62)
    assert [each.below for each in drawn] == pytest.approx([60.14, 55.8, 55.8, 49.6, 43.4, 46.5])
    assert drawn[-1].trunk == pytest.approx(43.4)  # what is added flows in below
    assert [[branch.kind for branch in each.branches] for each in drawn] == [
        ["aside"], ["aside"], [], ["aside", "review"], ["held"], ["added"],
    ]  # fmt: skip
    # A branch leaves where the stream narrows: from 60.14 to 62 of 100 at its upper edge.
    assert drawn[0].branches[0].path.startswith("M62.00 0C")
    assert " 60.14 0Z" in drawn[0].branches[0].path


def test_a_single_row_of_a_million_is_still_drawn() -> None:
    _, (drawn,) = funnel.draw(funnel.stations((), (step("near", 1_000_000, 999_999),)))
    path = drawn.branches[0].path
    top, bottom = re.findall(r" 100 ([\d.]+)V([\d.]+)C", path)[0]
    assert float(bottom) - float(top) == pytest.approx(2.5)


def test_the_page_draws_the_funnel_with_reasons_and_examples(full: report.ReportInput) -> None:
    others = {"preference": (step("clean", 9, 9), step("harm", 9, 7))}
    page = Page(report.render(full.model_copy(update={"rules": RULES, "funnel": STEPS, "other_funnels": others})))
    assert "preference clean" not in page.text
    for part in (
        "preference harm 9 7 why harm",
        "read from the files 1,000",
        "Validation encoding 970 −30 30 set aside",
        "Curation clean 900 why clean",
        "harm 800 −100 60 set aside, 40 to review : why harm 2 examples a b",
        "mix 750 +50 50 added",
        "to train on 750",
        "Also found by validation",
    ):
        assert part in page.text
    assert page.text.count("trimmed.jsonl:1") == 1
    assert len([tag for tag, attrs in page.tags if tag == "path" and attrs["class"] == "review"]) == 1
    listed = next(attrs for tag, attrs in page.tags if attrs.get("class") == "stream")
    assert str(listed["aria-label"]).startswith("1,000 rows read, 750 to train on.")


def test_without_curation_the_rules_are_a_table(full: report.ReportInput) -> None:
    page = Page(report.render(full.model_copy(update={"rules": RULES, "funnel": ()})))
    assert "Found by validation" in page.text
    assert "to train on" not in page.text
    assert "encoding.jsonl:1" in page.text


def test_the_picture_stands_alone_and_is_well_formed() -> None:
    hostile = step("harm", 900, 800, review=40).model_copy(update={"reason": '<script>"&'})
    svg = funnel.picture(funnel.stations(RULES, (hostile,)))
    root = ElementTree.fromstring(svg)
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert str(title.text).startswith("1,000 rows read, 800 to train on.")
    texts = " ".join("".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text"))
    assert "60 set aside, 40 to review" in " ".join(texts.split())
    assert '<script>"&' in texts
    assert "href" not in svg
    held = funnel.data_uri(svg).removeprefix("data:image/svg+xml;base64,")
    assert base64.b64decode(held).decode() == svg


def test_the_table_tells_every_flow() -> None:
    found = funnel.table(funnel.stations(RULES, STEPS))
    assert found[3] == {
        "stage": "Curation",
        "step": "harm",
        "rows_in": 900,
        "rows_out": 800,
        "set_aside": 60,
        "to_review": 40,
        "kept_for_validation": 0,
        "added": 0,
        "reason": "why harm",
        "examples": "a\nb",
    }


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


def test_side_by_side_shows_mistakes_then_differences_then_agreement(tmp_path: Path) -> None:
    """20 rows: the last model is wrong in r0-r9, right alone in r10-r14, right with the first in r15-r19."""
    first = outputs(tmp_path, "base", [False] * 15 + [True] * 5)
    last = outputs(tmp_path, "sft", [False] * 10 + [True] * 10)
    rows = report.side_by_side({"Base": first, "SFT": last}, rows=12)
    verdicts = [(row.right["Base"], row.right["SFT"]) for row in rows]
    assert verdicts == [(False, False)] * 6 + [(False, True)] * 4 + [(True, True)] * 2
    assert rows[0].outputs == {"Base": "base 0", "SFT": "sft 0"}
    assert rows == report.side_by_side({"Base": first, "SFT": last}, rows=12)


def test_side_by_side_keeps_to_rows_that_all_answered(tmp_path: Path) -> None:
    first = outputs(tmp_path, "base", [True, True, True], skip=1)
    last = outputs(tmp_path, "sft", [True, True, True])
    assert [row.prompt for row in report.side_by_side({"Base": first, "SFT": last})] == ["prompt 0", "prompt 2"]
    assert report.side_by_side({}) == ()


def test_a_line_is_drawn_where_its_numbers_lie() -> None:
    """Steps 0 to 100 span the width; losses 0 to 4 the height, zero at the bottom."""
    chart = line_chart("Loss", {"loss": [(0, 4.0), (50, 1.0), (100, 0.0), (75, float("nan"))]})
    assert chart is not None
    assert chart.lines[0].points == "0.00,0.00 50.00,75.00 100.00,100.00"
    assert [tick.text for tick in chart.y_ticks] == ["0", "1", "2", "3", "4"]
    assert [tick.place for tick in chart.y_ticks] == [100, 75, 50, 25, 0]
    assert line_chart("Loss", {"loss": [(0, float("nan"))]}) is None


def test_a_long_curve_is_thinned_but_keeps_its_ends() -> None:
    points = thinned([(i, float(i)) for i in range(5_000)])
    assert len(points) == 400
    assert (points[0], points[-1]) == ((0, 0.0), (4_999, 4_999.0))


def test_strips_share_one_scale() -> None:
    """A perplexity of 24.5 with an upper end of 26 is drawn on 0 to 30, so 24.5 lies at 81.7 percent."""
    drawn = strip("perplexity", "", [("a", 24.5, 23.0, 26.0, "plain")], target=None)
    assert drawn.scale == ("0", "30")
    assert drawn.marks[0].place == pytest.approx(100 * 24.5 / 30)
    shares = strip("slot_f1", "", [("a", 0.5, 0.4, 0.6, "plain")], target=0.8)
    assert (shares.scale, shares.marks[0].place, shares.target) == (("0", "1"), 50.0, 80.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 4, [0, 1, 2, 3, 4]), (0, 0.7, [0, 0.2, 0.4, 0.6, 0.8]), (3, 3, [3, 4])]
)
def test_ticks_are_round_and_cover_the_values(low: float, high: float, expected: list[float]) -> None:
    assert nice_ticks(low, high, 4)[: len(expected)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (9.97, "10 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3_900, "1 h 05 min")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_keep_what_matters() -> None:
    assert [number(value) for value in (0.8124, 24.51, 1204.4, float("inf"))] == ["0.812", "24.5", "1,204", "–"]


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
