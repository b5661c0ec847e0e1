"""Text: what is garbled is found, and real text of many languages is not."""

from __future__ import annotations

import polars as pl
import pytest

from posttrain.data.text.words import encoding_problems, unreadable

CHINESE = "我们的世界是美好的，大家都知道。"


@pytest.mark.parametrize(
    "text",
    [
        "Cita Romántica, naïve “quotes” – dash… CAFÉ” IRMÃ allé…» VOILÀ… Ü–ß",
        "Ångström ÄÖÜäöüßéèêëàâ ÀÁÂÃÄÅÆÇÈÉÊË ÿþ Ð Â ARÁ® ¡¡¡¡¡¡¡¡ «»«»«»«»",
        "«à “x” et é’”» “do sul”是 “etelä”是 café”。",
        "5×² x²+y²≤r² ∑±√≤ √±2 ±0.5° 5 °C €5–€10 Café¥",
        "привет, РСФСР, Россия ΑΒΓ Ελλάδα",
        "官方杂志 銀行鐘錶鏡子 锛 屯屯 烫烫烫 👍🏽 你好。“是”——",
        "tab\tand\r\nline ends\n",
        "",
    ],
)
def test_real_text_of_any_language_is_readable(text: str) -> None:
    assert unreadable(text) == ""
    assert encoding_problems(pl.Series([text, CHINESE])).to_list() == ["", ""]


@pytest.mark.parametrize(
    "text",
    [
        "café".encode().decode("latin-1"),
        "it’s — “good”".encode().decode("cp1252", "ignore"),
        "piñata, it’s".encode().decode("mac-roman"),
        "привет мир".encode().decode("cp1251", "ignore"),
        "5 °C".encode().decode("latin-1"),
        "😀 fine".encode().decode("cp1252", "replace"),
        "\ufeffabc".encode().decode("latin-1"),
        CHINESE.encode().decode("latin-1"),
        CHINESE.encode().decode("cp1252", "ignore"),
        CHINESE.encode().decode("gb18030", "replace"),
        CHINESE.encode("gbk").decode("latin-1"),
        "\ufffd\ufffd".encode().decode("gbk"),  # 锟斤拷
    ],
)
def test_text_read_in_the_wrong_encoding_is_mojibake(text: str) -> None:
    assert unreadable(text).startswith("mojibake ")
    assert encoding_problems(pl.Series(["fine", text])).to_list() == ["", unreadable(text)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Faer\ufffdn", "character U+FFFD at 4"),
        ("a\x00b", "character U+0000 at 1"),
        ("\\(\x0crac{y}{x}\\)", "character U+000C at 2"),  # \frac, its \f taken for a form feed
        ("a \x96 b", "character U+0096 at 2"),
    ],
)
def test_damage_is_named_with_its_place(text: str, said: str) -> None:
    assert unreadable(text) == said
    assert encoding_problems(pl.Series([text])).to_list() == [said]


def test_a_lone_surrogate_is_damage() -> None:
    assert unreadable("a\ud83d") == "character U+D83D at 1"
