"""Cleaning: what is tidied, in which texts, and what must stay as it is. No row is lost, and every change is named."""

from __future__ import annotations

import json
from typing import Any

import orjson
import polars as pl
import pytest

from posttrain.data.steps.clean import Clean
from posttrain.spec.sections.clean import CleanSpec


def tidied(text: str, prompt: str = "a prompt", **spec: bool) -> tuple[str, str]:
    """A completion after cleaning, and what was done to it."""
    rows, found = Clean(CleanSpec(**spec)).apply(pl.DataFrame({"prompt": [prompt], "completion": [text]}))
    return rows["completion"][0], found["value"][0] if found.height else ""


def label(**slots: str) -> str:
    return json.dumps({"intent": "Play", "slots": slots}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("text", "after", "kind"),
    [
        ("Cafe\u0301", "Café", "unicode"),
        ("\u1112\u1161\u11ab", "한", "unicode"),
        ("a\ufeff b\u200bc pro\u00adgovernment 中\u200c文", "a bc progovernment 中文", "invisible"),
        ("see\u202e txt.exe", "see txt.exe", "invisible"),
        ("fine\U000e0069\U000e0067 text", "fine text", "invisible"),
        ("one\r\n  two\rthree\u2028four\n", "one\n  two\nthree\nfour", "spaces"),
        ("a\u00a0b\u202f! c\u2009d", "a b ! c d", "spaces"),
        ("\n\n  text  ", "text", "spaces"),
        ("D&amp;D isn&#x27;t Grace&apos;s &lt;3", "D&D isn't Grace's <3", "markup"),
        ("Good.<br /><br />Bad.", "Good.\n\nBad.", "markup"),
        ("<p>One.</p><p>Two <b>bold</b>, <span class='x'>thin</span>.</p>", "One.\n\nTwo bold, thin.", "markup"),
        ("It spins.<ref name='a'></ref> Fast.", "It spins. Fast.", "markup"),
        ("a&nbsp;b", "a b", "markup, spaces"),
        ("&lt;em&gt;El Reg&lt;/em&gt; pledges", "El Reg pledges", "markup"),
    ],
)
def test_each_change_is_made_and_named(text: str, after: str, kind: str) -> None:
    assert tidied(text) == (after, kind)
    assert tidied(after) == (after, "")


@pytest.mark.parametrize(
    "text",
    [
        "x² ≤ ½ ① ﬁne ＡＢＣ，“全角”！　段落",  # NFKC would change all of them
        "👨‍👩‍👧 ❤️ 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "می‌خواهم \u200fعربي\u200f हिन्दी क्‍ष ภาษา\u200bไทย",
        "one\n\n\n  two  \n\tthree",
        "find the <analogy> token; List<User> users; if a < b && c > d; <repeats himself>",
        "Write <br> in HTML for a line break, and &amp; for an ampersand.",
        "```\n<p>A &amp; B</p>\n```",
        "H<sub>2</sub>O, E = mc<sup>2</sup>, <a href='x'>a link</a>",
        "AT&T; R&D; fish & chips; ?a=1&b=2",
        "    return x + 1\n    # indented code",
        "",
    ],
)
def test_what_means_something_stays(text: str) -> None:
    assert tidied(text) == (text, "")


def test_markup_stays_in_all_texts_of_a_row_that_is_about_it() -> None:
    assert tidied("a<br>b", prompt="Which HTML tag breaks lines?") == ("a<br>b", "")
    assert tidied("a<br>b", prompt="Where do lines break?") == ("a\nb", "markup")


@pytest.mark.parametrize(("kind", "text"), [("unicode", "e\u0301"), ("invisible", "a\ufeffb"), ("markup", "a<br>b")])
def test_each_setting_can_be_turned_off(kind: str, text: str) -> None:
    assert tidied(text, **{kind: False}) == (text, "")
    assert tidied(" a\r\n ", spaces=False) == (" a\r\n ", "")


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("Sure! Here's a joke for you:\n\nWhy do atoms lie?", "Why do atoms lie?"),
        ("Certainly! Paris.", "Paris."),
        ("As an AI language model, I have no opinions. Others do.", "I have no opinions. Others do."),
        ("Paris.\n\nI hope this helps! Let me know if you have any other questions.", "Paris."),
        ("You're welcome! If you have any other questions, feel free to ask.", "You're welcome!"),
        ("当然！以下是三种方法：\n\n一、二、三。希望这对您有所帮助！", "一、二、三。"),
        ("不客气！如果你还有其他问题，随时提问。", "不客气！"),
        ("News.\nWe use cookies to improve your visit. Accept all.\nMore news.", "News.\nMore news."),
        ("Sure!", "Sure!"),  # nothing would be left
        ("Sure, that is the cookie recipe. Ask John, and let me know if he calls.", None),
        ("当然，这取决于天气。以下是数据：一。", None),
    ],
)
def test_boilerplate_goes_only_when_asked_for(text: str, after: str | None) -> None:
    assert tidied(text) == (text, "")
    assert tidied(text, boilerplate=True)[0] == (text if after is None else after)


def test_slot_values_stay_inside_their_prompt() -> None:
    spaced = "Cafe\u0301 \u00a0 Noir &amp; Co"
    rows = pl.DataFrame({"prompt": [f" play  {spaced} "], "completion": [label(artist=f"{spaced} ")]})
    before = rows.clone()
    after, found = Clean().apply(rows)
    assert rows.equals(before)
    assert after["prompt"][0] == "play Café Noir & Co"
    assert json.loads(after["completion"][0])["slots"] == {"artist": "Café Noir & Co"}
    assert found["value"].to_list() == ["markup, unicode, spaces"]


def test_json_is_spelled_alike_but_its_numbers_stay() -> None:
    assert tidied('{"a":1,\n"b":"\\u00e9"}') == ('{"a": 1, "b": "é"}', "json")
    assert tidied('{"cost":850.50}') == ('{"cost":850.50}', "")
    assert tidied('{broken "a\u00a0b"}') == ('{broken "a b"}', "spaces")  # not JSON: prose


def test_json_nested_too_deep_is_left_alone() -> None:
    deep = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
    half = '{"a": ' + "[" * 600 + '" b "' + "]" * 600 + "}"
    assert tidied(deep) == (deep, "")
    assert tidied(half) == (half, "")


def test_conversations_are_tidied_turn_by_turn_as_their_columns_are() -> None:
    turns = [
        {"role": "user", "content": "Hi<br>there "},
        {"role": "assistant", "content": "Cafe\u0301", "weight": 1},
        {"role": "tool", "content": '{"a": "x\u200b"}'},
        {"role": "assistant", "content": None},
    ]
    rows = pl.DataFrame(
        {
            "prompt": ["User: Hi<br>there ", "fine"],
            "completion": ["Cafe\u0301", "fine"],
            "messages": [orjson.dumps(turns).decode(), '[{"role":"user","content":"fine"}]'],
        }
    )
    after, found = Clean().apply(rows)
    assert [turn["content"] for turn in json.loads(after["messages"][0])] == ["Hi\nthere", "Café", '{"a": "x"}', None]
    assert json.loads(after["messages"][0])[1]["weight"] == 1
    assert after["prompt"][0] == "User: Hi\nthere"
    assert after["messages"][1] == rows["messages"][1]
    assert found["row"].to_list() == [0]


def test_both_sides_of_a_pair_and_the_system_message_are_tidied_and_other_columns_are_not() -> None:
    row = {"id": "1", "system": "a\r\nb", "prompt": "p", "chosen": "c\u200b", "rejected": " d", "note": " as it is "}
    after, found = Clean().apply(pl.DataFrame([row]))
    assert after.row(0, named=True) == {**row, "system": "a\nb", "chosen": "c", "rejected": "d"}
    assert found.row(0, named=True) == {
        "row": 0,
        "verdict": "warn",
        "value": "invisible, spaces",
        "threshold": "tidy text",
        "twin": "",
    }


def test_grouping_into_batches_changes_nothing() -> None:
    texts = ["a<br>b", "fine", label(artist=" x  y "), "e\u0301", "```<br>```", '{"a":[" b"]}']
    rows = pl.DataFrame({"prompt": ["p"] * len(texts), "completion": texts})
    alone = [Clean().apply(rows[place : place + 1])[0].row(0) for place in range(rows.height)]
    after, found = Clean().apply(rows)
    assert after.rows() == alone
    assert found["row"].to_list() == [0, 2, 3, 5]


def test_a_batch_without_rows_is_fine() -> None:
    empty: dict[str, list[Any]] = {"prompt": [], "completion": []}
    after, found = Clean().apply(pl.DataFrame(empty, schema=dict.fromkeys(empty, pl.String)))
    assert (after.height, found.height) == (0, 0)
