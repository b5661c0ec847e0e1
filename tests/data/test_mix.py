"""The mix: rows of each part by weight, temperature and caps; which rows; which part a row belongs to."""

from __future__ import annotations

import json
import random

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from posttrain.data.curate.mix import draw, mix, parts_of, quotas, shares
from posttrain.data.curate.parts import assigned, multi_turn, refuses
from posttrain.errors import DataError
from posttrain.spec.sections.mixture import MixtureSpec, PartSpec


def counts(available: dict[str, int], total: int | None = None, **parts: float | PartSpec) -> dict[str, int]:
    """Rows by part."""
    named = {name: part if isinstance(part, PartSpec) else PartSpec(weight=part) for name, part in parts.items()}
    return {name: len(rows) for name, rows in mix(available, named, 0, total).rows.items()}


# --- how many ------------------------------------------------------------------------------------------------


def test_all_of_the_domain_and_general_by_weight() -> None:
    assert counts({"domain": 100, "general": 5000}, general=7, domain=1) == {"general": 700, "domain": 100}
    assert counts({"domain": 97, "general": 50}, domain=0.97, general=0.03) == {"domain": 97, "general": 3}


def test_a_part_that_runs_out_gives_what_it_has() -> None:
    assert counts({"domain": 100, "general": 350}, general=7, domain=1) == {"general": 350, "domain": 100}


def test_epochs_repeat_a_small_part_up_to_its_limit() -> None:
    twice = PartSpec(weight=7, epochs=2)
    assert counts({"domain": 100, "general": 300}, general=twice, domain=1) == {"general": 600, "domain": 100}
    assert counts({"domain": 100, "general": 400}, general=twice, domain=1) == {"general": 700, "domain": 100}


def test_max_rows_caps_a_part_for_its_size_too() -> None:
    part = PartSpec(weight=7, max_rows=50)
    assert counts({"domain": 100, "general": 5000}, general=part, domain=1) == {"general": 50, "domain": 100}
    assert counts({"domain": 100, "general": 80}, general=1, domain=PartSpec(max_rows=30)) == {
        "general": 30,
        "domain": 30,
    }


def test_a_total_cuts_in_proportion_and_the_others_fill_in_for_a_short_part() -> None:
    assert counts({"domain": 100, "general": 5000}, 80, general=7, domain=1) == {"general": 70, "domain": 10}
    # Ten rows are to be 4 : 4 : 2; general has one, and the nine others are shared 4 : 2.
    found = counts({"domain": 50, "general": 1, "safety": 50}, 10, domain=4, general=4, safety=2)
    assert found == {"domain": 6, "general": 1, "safety": 3}


def test_a_total_above_the_domain_repeats_it_only_when_allowed() -> None:
    assert counts({"domain": 100, "general": 900}, 500, general=1, domain=1) == {"general": 100, "domain": 100}
    part = PartSpec(epochs=3)
    assert counts({"domain": 100, "general": 900}, 500, general=1, domain=part) == {"general": 250, "domain": 250}


def test_without_domain_rows_the_parts_fill_the_total() -> None:
    assert counts({"domain": 0, "general": 40, "safety": 9}, general=1, safety=1, domain=1) == {
        "general": 40,
        "safety": 9,
    }
    assert counts({"general": 40, "safety": 9}, 20, general=1, safety=1) == {"general": 11, "safety": 9}


def test_temperature_goes_from_size_to_weight() -> None:
    available = {"big": 900, "small": 100}
    parts = {"big": PartSpec(), "small": PartSpec()}
    assert shares(available, parts, 1) == pytest.approx({"big": 0.9, "small": 0.1})
    assert shares(available, parts, 2) == pytest.approx({"big": 0.75, "small": 0.25})  # roots: 30 and 10
    assert shares(available, parts) == {"big": 0.5, "small": 0.5}
    heavier = {"big": PartSpec(), "small": PartSpec(weight=3)}
    assert shares(available, heavier, 2) == pytest.approx({"big": 0.5, "small": 0.5})
    capped = {"big": PartSpec(max_rows=100), "small": PartSpec()}
    assert shares(available, capped, 1) == {"big": 0.5, "small": 0.5}


@pytest.mark.parametrize("seed", range(200))
def test_quotas_keep_every_promise(seed: int) -> None:
    rng = random.Random(seed)
    names = ["domain", "general", "safety", "multi_turn"][rng.randrange(2) : rng.randrange(2, 5)]
    available = {name: rng.randrange(1, 1000) for name in names}
    parts = {
        name: PartSpec(
            weight=rng.choice([0.1, 1, 7]), max_rows=rng.choice([None, 5, 300]), epochs=rng.choice([1, 1, 2.5])
        )
        for name in names
    }
    total = rng.choice([None, 10, 500, 10_000])
    wanted = shares(available, parts, rng.choice([None, 1, 3]))
    found = quotas(available, parts, wanted, total)
    once = {name: min(available[name], parts[name].max_rows or 1000) for name in names}
    assert all(0 <= found[name] <= parts[name].epochs * once[name] for name in names)
    if total is not None:
        assert sum(found.values()) <= total
    if total is None and "domain" in names:
        assert found["domain"] == once["domain"]
        scale = once["domain"] / wanted["domain"]
        assert all(found[name] <= wanted[name] * scale + 0.5 for name in names)


# --- which ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 37])
def test_no_row_comes_again_before_all_have_come(count: int) -> None:
    found = draw(10, count, 5, "general")
    often = np.bincount(found, minlength=10)
    assert len(found) == count
    assert often.max() - often.min() <= 1


def test_a_larger_draw_keeps_the_smaller_one() -> None:
    assert set(draw(100, 20, 1, "general")) < set(draw(100, 50, 1, "general"))
    assert set(draw(100, 20, 1, "general")) != set(draw(100, 20, 2, "general"))
    assert set(draw(100, 20, 1, "general")) != set(draw(100, 20, 1, "safety"))


def test_the_mixture_says_what_limited_it() -> None:
    parts = {"general": PartSpec(weight=7, epochs=2), "domain": PartSpec(weight=1)}
    mixture = mix({"domain": 100, "general": 150}, parts, 0)
    assert mixture.total == 400
    assert mixture.text() == "general 300 of 150 (75.0%, 87.5% wanted, 2.0 passes), domain 100 of 100 (25.0%)"
    assert mix({"domain": 0}, parts, 0).text() == ""
    left_out = mix({"domain": 4, "safety": 9, "general": 1}, {"domain": PartSpec()}, 0)
    assert left_out.text() == "domain 4 of 4 (100.0%), general 0 of 1 (no weight), safety 0 of 9 (no weight)"


def test_default_parts_follow_the_kind_of_task() -> None:
    def of(kind: str, share: float | None = None) -> dict[str, float]:
        return {name: part.weight for name, part in parts_of(MixtureSpec(), kind, share).items()}

    assert of("text") == {"domain": 1 / 8, "general": 7 / 8}
    assert of("intent_slots") == {"domain": 0.97, "general": 0.03}
    assert of("text", 0.06) == {"domain": 0.94, "general": 0.06}
    own = MixtureSpec.model_validate({"parts": {"domain": 2, "general": 1}})
    assert parts_of(own, "text", None) == {"domain": PartSpec(weight=2), "general": PartSpec(weight=1)}


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"parts": {"edge_cases": 1}}, "edge_cases without matches or column"),
        ({"parts": {"domain": {"matches": "x"}}}, "matches or column for domain"),
        ({"parts": {"edge_cases": {"matches": "("}}}, "expected a regular expression"),
        ({"parts": {"domain": 0}}, "no part with a weight above 0"),
        ({"parts": {"domain": -1}}, "greater than or equal to 0"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(spec: dict[str, object], found: str) -> None:
    with pytest.raises(ValidationError, match=found):
        MixtureSpec.model_validate(spec)


# --- parts ---------------------------------------------------------------------------------------------------


def rows(**columns: list[str]) -> pl.DataFrame:
    count = len(next(iter(columns.values())))
    base = {name: [""] * count for name in ("prompt", "completion")}
    return pl.DataFrame({"source": [f"x:{number}" for number in range(count)], **base, **columns})


def test_several_user_turns_are_seen_in_messages_and_in_flattened_prompts() -> None:
    turns = [{"role": "user", "content": 'say "role": "user"'}, {"role": "assistant", "content": "a"}]
    frame = rows(
        messages=[json.dumps(turns), json.dumps(turns * 2), ""],
        prompt=["", "", "User: a\n\nAssistant: b\n\nUser: c"],
    )
    assert multi_turn(frame).to_list() == [False, True, True]


def test_refusals_are_seen_in_english_and_chinese() -> None:
    answers = {
        "Sorry, but I can't assist with that.": True,
        "I’m not able to provide instructions.": True,
        "It's not appropriate or ethical to do so.": True,
        "对不起，我不能提供制造炸弹的方法。": True,
        "作为一个人工智能助手，我无法提供这样的帮助。": True,
        "Sorry that you waited. Here is how to kill a Python process: run kill.": False,
        "对不起，刚才的答案有误，正确的是七。": False,
        "Paris is the capital of France.": False,
    }
    assert refuses(rows(completion=list(answers))).to_list() == list(answers.values())


def test_a_row_belongs_to_the_first_part_it_fits() -> None:
    frame = rows(
        prompt=["what is 0/0", "hello", "how to hurt him", "0/0, and how to hurt him"],
        completion=["undefined", "hi there", "I cannot help with that.", "I cannot help with that."],
        rare=["", "true", "false", "0"],
    )
    parts = {
        "edge_cases": PartSpec(matches=r"\b0/0\b", column="rare"),
        "safety": PartSpec(),
        "domain": PartSpec(),
    }
    assert assigned(frame, parts, "general").to_list() == ["edge_cases", "edge_cases", "safety", "edge_cases"]
    first = {"safety": PartSpec(), **parts}
    assert assigned(frame, first, "domain").to_list() == ["edge_cases", "edge_cases", "safety", "safety"]
    assert assigned(frame, {}, "domain").to_list() == ["domain"] * 4


def test_a_part_whose_column_is_missing_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match=r"x:0: found columns .*expected rare; .*edge_cases\.column"):
        assigned(rows(prompt=["a"]), {"edge_cases": PartSpec(column="rare")}, "domain")
