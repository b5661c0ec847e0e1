"""Prose: length and repetition in English and Chinese; what is JSON or code is left alone."""

from __future__ import annotations

import polars as pl
import pytest

from posttrain.data.text import prose

PYTHON = "def mean(values):\n    total = sum(values)\n    return total / len(values)\n\nprint(mean([1, 2]))"
FENCED = "Here it is:\n```sql\nSELECT name, price FROM orders\nORDER BY price DESC\nLIMIT 10\n```"
PROSE_WITH_CODE = (
    "A loop repeats its body for every item that it is given, in their order, and it ends when there is none left:\n"
    "```python\nfor i in items:\n    print(i)\n```\nThe body is indented by four blanks, as is the custom in Python."
)


def one(text: str) -> pl.Series:
    return pl.Series([text], dtype=pl.String)


@pytest.mark.parametrize(
    ("text", "is_code"),
    [
        (PYTHON, True),
        (FENCED, True),
        ("<table>\n  <tr>\n    <th>Name</th>\n  </tr>\n</table>", True),
        ("SELECT run, MAX(ct) FROM wells WHERE role = 'NTC' GROUP BY run;", True),
        ("x = 4 * 5280\ny = 975 * 3", True),
        (PROSE_WITH_CODE, False),
        ("Leaves twirl and glide,\nDrifting gently to the ground;\nAutumn's dance begins.", False),
        ("Use the `<b>` tag (or CSS) for bold text.", False),
        ("From A to B; then, at last, home.", False),
        ("<repeats himself in response to the question>", False),
        ("首先，导入库；然后，运行程序（见下）。", False),
        ("", False),
    ],
)
def test_code_is_told_from_prose(text: str, is_code: bool) -> None:
    assert prose.is_code(one(text)).to_list() == [is_code]


def test_json_is_a_whole_object_or_array() -> None:
    texts = pl.Series(['{"a": 1}', "[1]", " [1] ", "{broken", "[1] is a footnote", "7", "text", ""])
    assert prose.is_json(texts).to_list() == [True, True, True, False, False, False, False, False]


def test_a_chinese_character_counts_for_three() -> None:
    # 6 characters: as long as 18; "abc" is 3; two Hangul syllables and a full stop 7; kana the same
    assert prose.lengths(pl.Series(["生命的意义是", "abc", "안녕.", "はい。", "𠮷野", ""])).to_list() == [
        18,
        3,
        7,
        7,
        6,
        0,
    ]


def test_length_bounds_are_generous_to_chinese_at_both_ends() -> None:
    texts = pl.Series(
        ["正义。", "三四个字", "Yes", "long enough", "长" * 2000, "长" * 2001, "x" * 2001, " 42 ", "{}", "f();"]
    )
    assert prose.length_problems(texts, 10, 2000).to_list() == [
        "3 characters (as long as 7 in English)",
        "",  # 4 characters count as 12
        "3 characters",
        "",
        "",
        "2001 characters (as long as 6003 in English)",
        "2001 characters",
        "2 characters",
        "",  # JSON
        "",  # code
    ]


def test_repetition_is_the_share_of_runs_of_four_words() -> None:
    # 13 words have 10 runs of four, all the same
    assert prose.distinct_shares(one("cough " * 13)).to_list() == pytest.approx([1 / 10])
    # a b c a b c a b: runs abca bcab cabc abca bcab, of which three differ
    assert prose.distinct_shares(one("a b c a b c a b")).to_list() == pytest.approx([3 / 5])
    assert prose.distinct_shares(one("好好好好好好好好")).to_list() == pytest.approx([1 / 5])
    assert prose.distinct_shares(pl.Series(["seven no no no no no no", ""])).to_list() == [1, 1]


def test_repetition_does_not_depend_on_neighbors() -> None:
    texts = ["no " * 20, "", "a fine text that says nothing twice, and ends", "好" * 30]
    alone = [prose.distinct_shares(one(text))[0] for text in texts]
    assert prose.distinct_shares(pl.Series(texts)).to_list() == alone


def test_texts_in_ascii_are_measured_as_all_others_are() -> None:
    texts = [
        "A word_with 3 parts, it's 12.5% of 16charactersExact 17charactersExactl! " * 3,
        "extraordinarily long extraordinarilY Long EXTRAORDINARILY long, extraordinarily longer extraordinarilx long",
        "ends in a word ends in a word ends in a word",
        "\n\n leading and trailing blanks leading and trailing blanks \n",
        "curly “quotes” – and… dashes curly quotes and dashes",
    ]
    others = [f"{text} é" for text in texts]
    ascii_and_word = [f"{text} e" for text in texts]
    assert (
        prose.distinct_shares(pl.Series(others)).to_list() == prose.distinct_shares(pl.Series(ascii_and_word)).to_list()
    )


def test_loops_are_found_and_good_repetitive_text_is_not() -> None:
    sums = "She drinks 2 + 4 = <<2+4=6>>6 glasses of water\nHe drinks 3 * 4 = <<3*4=12>>12 glasses of water\n#### 12"
    lists = "\n".join(f"{number}. 《寻找魔法国度》第{number}册，出版于{2000 + number}年" for number in range(1, 8))
    story = " ".join(f"On day {day} the fox met number {day * 7}, and then it went on." for day in range(2))
    loop = "It was a fine day and we all went out. " + "Then we went home again. " * 8
    chinese = "今天天气很好，我们一起出门。" + "然后我们回家。" * 8
    texts = pl.Series([sums, lists, story, PYTHON * 9, '{"a": "' + "no " * 50 + '"}', loop, chinese])
    assert (prose.repetition_problems(texts, 0.7) != "").to_list() == [False] * 5 + [True] * 2
