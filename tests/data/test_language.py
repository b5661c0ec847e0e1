"""Language: told when it is sure, in any script; names, titles, code and short texts are never condemned."""

from __future__ import annotations

import polars as pl
import pytest

from posttrain.data.text.language import language_problems, languages
from posttrain.errors import SpecError

ENGLISH = "The answer depends on how you measure it, and what you have to work with."
CHINESE = "答案取决于你如何衡量它，以及你手头有什么。"
TRADITIONAL = "這個問題的答案取決於您如何衡量它，以及您手頭上有什麼資料。"
FRENCH = "La photosynthèse est le processus par lequel les plantes transforment la lumière en énergie."
FOREIGN = {
    "fr": FRENCH,
    "de": "Ich möchte heute Abend einen Tisch für zwei Personen reservieren.",
    "es": "Me gustaría reservar una mesa para dos personas esta noche.",
    "ja": "光合成は植物が光をエネルギーに変える過程です。",
    "ko": "오늘 저녁 두 명 자리를 예약하고 싶습니다.",
    "ru": "Я хотел бы забронировать столик на двоих на сегодняшний вечер.",
}


def problem(text: str, *allowed: str) -> str:
    return str(language_problems(pl.Series([text]), allowed)[0])


@pytest.mark.parametrize(("language", "text"), FOREIGN.items())
def test_another_language_is_named(language: str, text: str) -> None:
    assert problem(text, "en", "zh").startswith(f"{language} (")
    assert problem(text, "en", language) == ""


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, TRADITIONAL])
def test_english_and_both_written_forms_of_chinese_are_at_home(text: str) -> None:
    assert problem(text, "en", "zh") == ""
    assert problem(text, "en-us", "zh_Hans") == ""
    assert problem(text, "fr") != ""


@pytest.mark.parametrize(
    "text",
    [
        "play Noctámbulo playlist",
        "Manny Vassey",
        "Is it snowy in DeMotte MS",
        "1. Tokyo\n2. Beijing\n3. Manila",
        "Del = 23 * 2 = <<23*2=46>>46 oranges\n107 - 46 = <<107-46=61>>61 oranges",
        "Sandra.Peters@example.com",
        "用 Python 写：print('hello')",
        "ภาษา",  # Thai, but four letters
        '{"texte": "La photosynthèse est le processus par lequel les plantes transforment la lumière."}',
        f"```\n{FRENCH}\n```",
        "12 + 5",
        "",
    ],
)
def test_what_is_unsure_is_not_condemned(text: str) -> None:
    assert problem(text, "en", "zh") == ""


def test_the_verdict_on_a_text_does_not_depend_on_its_neighbors() -> None:
    texts = pl.Series([ENGLISH, FRENCH, "", CHINESE, "No."])
    assert language_problems(texts, ["en", "zh"]).to_list() == [problem(text, "en", "zh") for text in texts]


def test_languages_are_counted_for_a_report() -> None:
    assert languages(pl.Series([ENGLISH, CHINESE, FRENCH, "42", ""])).to_list() == ["en", "zh", "fr", "", ""]


def test_an_unknown_language_is_the_users_error() -> None:
    with pytest.raises(SpecError, match="found xx, expected ISO 639 codes"):
        problem(ENGLISH, "en", "xx")
