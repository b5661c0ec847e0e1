"""Training rows told in other ways: what is made, from what, and what is left alone."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from posttrain.data.synthetic.augment import Augment, augment
from posttrain.data.synthetic.demonstrations import draw, pool
from posttrain.data.synthetic.rationale import steps
from posttrain.data.synthetic.similarity import jaccard, repeats, runs
from posttrain.prompts import few_shot
from posttrain.spec.sections.synthetic import AugmentSpec

TASK = "Turn the command into JSON."
TOPICS = ("jazz", "rain", "tables", "films", "books", "snow", "opera", "taxis", "bread", "chess")
VERBS = ("play", "find", "describe", "compare", "sell", "paint", "repair", "translate", "postpone", "measure")


def rows(count: int = 60, **columns: str) -> pl.DataFrame:
    """Rows whose prompts share no more than a word."""
    prompts = [f"{VERBS[n % 10]} {n * 7919} {TOPICS[n // 10 % 10]}" for n in range(count)]
    made = {
        "id": [f"{n:016x}" for n in range(count)],
        "source": [f"f:{n + 1}" for n in range(count)],
        "system": [TASK] * count,
        "prompt": prompts,
        "completion": [json.dumps({"n": n}) for n in range(count)],
    }
    return pl.DataFrame(made).with_columns(**{name: pl.lit(value) for name, value in columns.items()})


def made(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("origin") == "augmented")


def test_few_shot_rows_have_the_form_in_which_evaluation_asks() -> None:
    source = rows()
    told = made(augment(source, AugmentSpec(few_shot=1.0, few_shot_examples=3), TASK))
    assert told.height == 60
    by_prompt = {row["prompt"]: row for row in source.to_dicts()}
    for row in told.to_dicts():
        turns = json.loads(row["messages"])
        parent = by_prompt[turns[-2]["content"]]
        examples = [by_prompt[turns[at]["content"]] for at in (1, 3, 5)]
        assert turns[:-1] == few_shot(examples, TASK, parent["prompt"])
        assert turns[-1] == {"role": "assistant", "content": parent["completion"]}
        assert (row["parent"], row["completion"], row["source"]) == (
            parent["id"],
            parent["completion"],
            parent["source"],
        )
        assert row["prompt"].startswith("User: ")
        assert row["prompt"].endswith(f"User: {parent['prompt']}")
        assert parent["id"] not in {example["id"] for example in examples}
        assert len({example["id"] for example in examples}) == 3
    assert told["id"].n_unique() == 60


def test_a_near_twin_is_no_example() -> None:
    """Two of three rows differ in a digit: each may only be shown the third, and that either of them but not both."""
    source = rows(3).with_columns(
        prompt=pl.Series(["wake me up at 6 tomorrow morning", "wake me up at 7 tomorrow morning", "play jazz"])
    )
    told = made(augment(source, AugmentSpec(few_shot=1.0, few_shot_examples=2), TASK))
    shown = {row["parent"]: json.loads(row["messages"]) for row in told.to_dicts()}
    for twin in source["id"][:2]:
        assert [turn["content"] for turn in shown[twin] if turn["role"] == "user"][:-1] == ["play jazz"]
    assert len(shown[source["id"][2]]) == 1 + 2 + 2


def test_examples_come_from_the_rows_given_and_from_no_others() -> None:
    source = pl.concat(
        [
            rows(10, group="", origin=""),
            rows(4, group="general", origin="").with_columns(
                id="g" + pl.col("id"), prompt="general " + pl.col("prompt")
            ),
            rows(4, group="", origin="augmented").with_columns(
                id="a" + pl.col("id"), prompt="told " + pl.col("prompt")
            ),
            rows(4, group="", origin="").with_columns(id="o" + pl.col("id"), system=pl.lit("Another task.")),
        ]
    )
    drawn = pool([source], TASK, seed=0)
    assert [row["id"] for row in drawn] == [f"{n:016x}" for n in range(10)]
    told = augment(source, AugmentSpec(few_shot=1.0), TASK).filter(pl.col("retold") == "few_shot")
    assert set(told["parent"]) == {f"{n:016x}" for n in range(10)}


def test_examples_are_left_out_until_the_row_fits() -> None:
    source = rows(10)
    long = made(augment(source, AugmentSpec(few_shot=1.0, few_shot_examples=3, few_shot_characters=10_000), TASK))
    sizes = [sum(len(turn["content"]) for turn in json.loads(text)) for text in long["messages"]]
    short = made(
        augment(source, AugmentSpec(few_shot=1.0, few_shot_examples=3, few_shot_characters=min(sizes) - 1), TASK)
    )
    assert short.height > 0
    for row in short.to_dicts():
        turns = json.loads(row["messages"])
        assert len(turns) < 1 + 6 + 2
        assert sum(len(turn["content"]) for turn in turns) < min(sizes)
        full = json.loads(long.filter(pl.col("parent") == row["parent"])["messages"][0])
        assert turns[1:] == full[-len(turns) + 1 :], "left out from the front"
    assert made(augment(source, AugmentSpec(few_shot=1.0, few_shot_characters=10), TASK)).height == 0


def test_the_share_is_kept_and_chance_depends_on_nothing_but_the_row() -> None:
    source = rows(1000)
    spec = AugmentSpec(few_shot=0.2, few_shot_examples=2)
    told = augment(source, spec, TASK)
    assert 160 <= made(told).height <= 240  # 200, and three standard deviations of 12.6
    drawn = pool([source], TASK, spec.seed)
    assert drawn == pool([source[500:], source[:500]], TASK, spec.seed)
    pieces = pl.concat([Augment(spec, TASK, drawn)(source[start : start + 7]) for start in range(0, 1000, 7)])
    assert pieces.equals(made(told))
    shuffled = made(augment(source.sample(fraction=1.0, shuffle=True, seed=1), spec, TASK)).sort("id")
    assert shuffled.equals(made(told).sort("id"))
    other = made(augment(source, spec.model_copy(update={"seed": 1}), TASK))
    assert set(other["parent"]) != set(made(told)["parent"])


def test_a_pool_is_bounded_and_random() -> None:
    drawn = pool([rows(300)], TASK, seed=3, size=50)
    assert len(drawn) == 50
    numbers = [int(row["id"], 16) for row in drawn]
    assert numbers == sorted(numbers)
    assert max(numbers) > 200


def test_draw_gives_fewer_when_there_are_no_more() -> None:
    drawn = pool([rows(3)], TASK, seed=0)
    assert len(draw(drawn, rows(3).row(0, named=True), 5, 0.6, seed=0)) == 2


GSM = "She sold 48/2 = <<48/2=24>>24 clips in May.\nIn all 48+24 = 72.\n#### 72"


def test_step_by_step_and_answer_only() -> None:
    source = rows(1).with_columns(prompt=pl.lit("How many clips?"), completion=pl.lit(GSM))
    told = made(augment(source, AugmentSpec(step_by_step=1.0, answer_only=1.0), TASK)).to_dicts()
    assert [(row["retold"], row["system"], row["completion"]) for row in told] == [
        ("step_by_step", f"{TASK}\nThink step by step, then give the answer after ####.", GSM),
        ("answer_only", f"{TASK}\nGive only the answer.", "72"),
    ]
    assert {row["prompt"] for row in told} == {"How many clips?"}


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"completion": GSM}, (GSM.rpartition("\n")[0], "72")),
        ({"completion": "72", "rationale": " 48 + 24 "}, ("48 + 24", "72")),
        ({"completion": "so\n#### 72", "rationale": "48 + 24"}, ("48 + 24", "72")),
        ({"completion": "72"}, None),
        ({"completion": "#### 72"}, None),
        ({"completion": "half of it ####"}, None),
        ({"completion": "a #### b #### c"}, ("a #### b", "c")),
    ],
)
def test_a_rationale_is_found(row: dict[str, str], found: tuple[str, str] | None) -> None:
    assert steps(row) == found


def test_rows_without_a_rationale_are_left_alone() -> None:
    source = rows(20)
    assert made(augment(source, AugmentSpec(step_by_step=1.0, answer_only=1.0), TASK)).height == 0


def test_reworded_rows_of_the_task_only() -> None:
    words = ["Parse this command.", "What does the speaker want, as JSON?"]
    source = pl.concat([rows(200), rows(5).with_columns(id="o" + pl.col("id"), system=pl.lit("Another."))])
    told = made(augment(source, AugmentSpec(reworded=1.0, instructions=words), TASK))
    assert told.height == 200
    counts = dict(told["system"].value_counts().iter_rows())
    assert set(counts) == set(words)
    assert min(counts.values()) > 70
    assert told["completion"].to_list() == source["completion"].to_list()[:200]


def test_a_conversation_stays_in_step_with_its_texts() -> None:
    turns = [
        {"role": "system", "content": TASK},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "add 1 and 1"},
        {"role": "assistant", "content": "1 + 1\n#### 2"},
    ]
    source = rows(1).with_columns(messages=pl.lit(json.dumps(turns)), completion=pl.lit("1 + 1\n#### 2"))
    told = made(augment(source, AugmentSpec(answer_only=1.0, few_shot=1.0), TASK)).to_dicts()
    assert [row["retold"] for row in told] == ["answer_only"], "a conversation gets no worked examples"
    assert json.loads(told[0]["messages"]) == [
        {"role": "system", "content": f"{TASK}\nGive only the answer."},
        *turns[1:4],
        {"role": "assistant", "content": "2"},
    ]


def test_made_rows_stand_beside_their_parents_or_in_their_place() -> None:
    source = rows(50)
    spec = AugmentSpec(few_shot=0.3, few_shot_examples=2)
    beside = augment(source, spec, TASK)
    assert beside.filter(pl.col("origin") == "")["id"].to_list() == source["id"].to_list()
    instead = augment(source, spec.model_copy(update={"replace": True}), TASK)
    assert instead.height == 50
    assert not set(instead["id"]) & set(made(instead)["parent"])
    assert all(kind == pl.String for kind in instead.schema.values())
    assert instead.null_count().sum_horizontal()[0] == 0


def test_nothing_is_made_unless_asked_for() -> None:
    assert not AugmentSpec().makes_rows
    assert augment(rows(), AugmentSpec(), TASK).select(rows().columns).equals(rows())
    with pytest.raises(ValidationError, match="without instructions"):
        AugmentSpec(reworded=0.1)


def test_similarity_is_counted_exactly() -> None:
    """ " abc " has the runs " abc", "abc "; " abcd " has " abc", "abcd", "bcd ": one of four is shared."""
    assert runs("ABC!").tolist() == runs(" abc").tolist()
    assert (len(runs("abc")), len(runs("abcd")), len(runs("")), len(runs("aaaaaaaa"))) == (2, 3, 1, 3)
    assert jaccard(runs("abc"), runs("abcd")) == 1 / 4
    assert jaccard(runs("你好"), runs("你好")) == 1.0


def test_repeats_finds_every_twin_that_comparing_all_pairs_finds() -> None:
    texts = [f"{verb} {'the ' * (n % 3)}{topic} number {n % 4}" for n, verb in enumerate(VERBS) for topic in TOPICS]
    for threshold in (0.4, 0.7, 1.0):
        expected: dict[int, Any] = {}
        for second in range(len(texts)):
            for first in range(second):
                alike = jaccard(runs(texts[first]), runs(texts[second]))
                if first not in expected and alike >= threshold:
                    expected[second] = (first, alike)
                    break
        assert repeats(texts, threshold) == expected
    assert repeats(["same", "same", "same"], 1.0, given=2) == {2: (0, 1.0)}
