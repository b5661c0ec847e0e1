"""The stream of rows: its numbers, its geometry, and the picture that stands alone."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import pytest
from reports import RULES, STEPS, Page, rule, step

from posttrain import report
from posttrain.report import funnel


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
