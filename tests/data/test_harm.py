"""Harm: what is clear is dropped, what is unsure reviewed, and ordinary text, quotations and safety data stay."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import polars as pl
import pytest

from posttrain.data.steps.harm import Harm, refuses
from posttrain.errors import DataError
from posttrain.spec.sections.harm import HarmSpec

# Rows are about words, so some must stand here.
BAD = "You cunt, I said shut up, you stupid bitch."
INSULT = "操你妈，你这个王八蛋。"


def batch(*answers: str, prompt: str = "a prompt", **columns: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"prompt": [prompt] * len(answers), "completion": list(answers), **columns})


def verdicts(rows: pl.DataFrame, **spec: object) -> dict[int, str]:
    """Row -> verdict."""
    found = Harm.make(HarmSpec.model_validate(spec), Path("/")).find(rows)
    return dict(zip(found["row"].to_list(), found["verdict"].to_list(), strict=True))


def test_clear_words_drop_and_unsure_ones_are_reviewed() -> None:
    # cunt 2 + bitch 1 = 3 points; 操你妈 2 + 王八蛋 1 = 3; one clear word 2; porn 1 + dildo 1 = 2; shit 1
    rows = batch(BAD, INSULT, "A slut.", "Porn and a dildo.", "Shit, it rains.", "Sluts are sluts.", "Plain.")
    assert verdicts(rows) == {0: "drop", 1: "drop", 2: "review", 3: "review", 5: "drop"}


def test_the_value_says_which_words_stand_there() -> None:
    found = Harm.make(HarmSpec(), Path("/")).find(batch("Fine.", "Sluts, SLUTS and a dildo."))
    assert found.row(0, named=True) == {
        "row": 1,
        "verdict": "drop",
        "value": "slut (2), dildo",
        "threshold": "no such words",
        "twin": "",
    }


@pytest.mark.parametrize(
    "text",
    [
        "The rectum and the anus end the digestive system; sexual reproduction needs an egg and a sperm.",
        "Scunthorpe's peacock ate grapes in a document about Maine Coons, Moby-Dick and Twinkies. Essex, Dickens.",
        "13. 性别、性能和可能性；成人教育；牛奶；他妈妈的激情；逼真的照片；今日批准；十三点开会；刚度；哺乳动物。",
        "How to kill a Python process: find its PID, then type kill. Snatch, clean and jerk. Scat singing.",
        "Rape is a serious crime. To Kill a Mockingbird is about a man accused of raping a woman.",
        "",
    ],
)
def test_ordinary_text_trips_nothing(text: str) -> None:
    assert verdicts(batch(text)) == {}


def test_safety_data_is_kept() -> None:
    refusal = f"I'm sorry, but I can't write that. Calling someone a cunt or a bitch hurts. {BAD}"
    chinese = f"抱歉，我不能这样说。{INSULT}"
    assert verdicts(batch(refusal, chinese, prompt=BAD)) == {}
    assert verdicts(batch(refusal, chinese), keep_refusals=False) == {0: "drop", 1: "drop"}


def test_a_prompt_counts_only_when_asked_for() -> None:
    rows = batch("Here you are.", "I cannot do that.", prompt=BAD)
    assert verdicts(rows) == {}
    assert verdicts(rows, prompts=True) == {0: "drop"}


def test_only_what_is_learned_is_looked_at() -> None:
    pairs = pl.DataFrame({"prompt": ["p", "p"], "chosen": ["Fine.", BAD], "rejected": [BAD, "Fine."]})
    assert verdicts(pairs) == {1: "drop"}
    assert verdicts(batch(BAD, BAD, label=["true", "false"])) == {0: "drop"}
    assert verdicts(batch(json.dumps({"movie_name": BAD}))) == {}


def test_every_turn_of_the_assistant_is_looked_at() -> None:
    turns = [("user", BAD), ("assistant", "Calm down."), ("user", "No."), ("assistant", "Then not.")]
    worse = [*turns[:1], ("assistant", BAD), *turns[2:]]
    texts = [json.dumps([{"role": role, "content": text} for role, text in each]) for each in (turns, worse)]
    assert verdicts(batch("Then not.", "Then not.", messages=texts)) == {1: "drop"}


def test_a_users_list_drops_at_one_word_and_allows_others(tmp_path: Path) -> None:
    (tmp_path / "ours.txt").write_text("# rivals\nAcme Corp\n竞品公司\n", encoding="utf-8")
    rows = batch("Ask acme corp.", "推荐竞品公司。", "Macacme corpse.", "A slut.")
    step = Harm.make(HarmSpec(word_lists=["ours.txt"]), tmp_path)
    assert step.find(rows)["row"].to_list() == [0, 1]
    assert verdicts(rows, allowed=["slut"]) == {}
    assert verdicts(rows, word_lists=[]) == {}


@pytest.mark.parametrize(
    ("name", "content"), [("missing.txt", None), ("empty.txt", "# nothing\n"), ("bad.txt", b"\xff")]
)
def test_a_list_that_cannot_be_used_is_the_users_error(tmp_path: Path, name: str, content: str | bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=rf"curate.harm.word_lists: {name}"):
        Harm.make(HarmSpec(word_lists=["en", name]), tmp_path)


def test_grouping_into_batches_changes_nothing() -> None:
    rows = batch(BAD, "Plain.", "A slut.", INSULT)
    step = pickle.loads(pickle.dumps(Harm.make(HarmSpec(), Path("/"))))
    alone = [(row, *each[1:]) for row in range(4) for each in step.find(rows[row : row + 1]).rows()]
    assert step.find(rows).rows() == alone


def test_refusals_are_told_from_answers() -> None:
    texts = [
        "I'm sorry, but I can't assist with that.",
        "I cannot provide instructions for this.",
        "很抱歉，作为人工智能我无法提供帮助。",
        "It is not appropriate to make such jokes.",
        "Sure! Here is how: do not forget the salt.",
        "我可以帮助您。",
        "The process cannot be killed by a user.",
        "",
    ]
    assert refuses(pl.Series(texts)).to_list() == [True] * 4 + [False] * 4
