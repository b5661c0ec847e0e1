"""The number that an answer ends in, as people and models write it in English and Chinese.

What follows `####` (GSM8K) or stands in `\\boxed{}`, else what "the answer is" or 答案是 names, else the last number.
Values are exact fractions, so 1,000 = 1 000 = 1000.0 and 0.75 = 0,75 = 3/4. Knows nothing of tasks or scores.

A comma is read as people write it: before a last group of three digits it sets thousands apart (1,500), else it is the
decimal one (1,5; 0,125; 1.500,25), unless the digits are a list (1,5,7) or a pair in brackets. 1.500 is one and a half.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

_HUNDRED = 100
_LONGEST = 60
"""Characters of a number: a longer run of digits is no quantity."""

_NARROW_BLANK = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")
_CHINESE_COMMA = re.compile("，(?!\\d{3}(?!\\d))")
_BLANK_THOUSANDS = re.compile(r"(?<![\d.,])(?<!\d )[1-9]\d{0,2}(?: \d{3})+(?! ?\d|[/⁄])")
_POINT_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:(?:\.\d{3})+(?=,\d+(?![\d,.]*\d))|(?:\.\d{3}){2,}(?!\.?\d))")
_ONE_COMMA = re.compile(r"(?<![\d.,])(?P<whole>\d+),(?P<decimals>\d+)(?!\d|[.,]\d)")
_VULGAR = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?![\d])|\d+)(?:\.\d+)?(?:e[+-]?\d{1,2}(?!\d))?"
_CHINESE_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_CHINESE_UNITS = {"十": 10, "百": 100, "千": 1000, "万": 10_000, "亿": 100_000_000}
_CHINESE = f"[{''.join(_CHINESE_DIGITS)}{''.join(_CHINESE_UNITS)}]+"
_WORDS = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "千": 10**3, "万": 10**4, "亿": 10**8}
_SCALE = r"(?P<scale>\s*(?:thousand|million|billion)\b|[千万亿])?"
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]%.])[-−–]\s?)?(?:[$€£¥]\s?(?P<late>[-−](?=\d))?)?"
    rf"(?:(?P<whole>\d+)\s+(?P<over>\d+)[/⁄](?P<under>\d+)(?![/\d])"
    rf"|(?P<top>{_DIGITS})\s?[/⁄]\s?(?P<bottom>{_DIGITS})(?![/\d])"
    rf"|(?P<plain>{_DIGITS}){_SCALE}"
    rf"|(?P<parts>{_CHINESE})分之(?P<of>{_CHINESE})"
    rf"|(?P<chinese>(?!一[共起样些定般直旦切]){_CHINESE}(?:点[{''.join(_CHINESE_DIGITS)}]+)?))"
    r"(?P<percent>\s?(?:%|percent\b))?",
    re.IGNORECASE,
)
_MARK = re.compile(
    r"####|\\boxed\s*\{|\banswer\b[^.\n:：=]{0,40}?(?:\b(?:is|equals)\b\s*[:：=]?|[:：=])"
    r"|答案[^。\n:：]{0,20}?(?:是|为|等于|[:：])\s*[:：]?|答\s*[:：]",
    re.IGNORECASE,
)
_END = re.compile(r"[!?;\n。！？；}]|[.,，](?!\d)")
_TEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")


@dataclass(frozen=True)
class Number:
    """A number as it stands: `value` as written, `percent` when a % follows it."""

    value: Fraction
    percent: bool = False


def same(one: Number, other: Number) -> bool:
    """Whether two numbers are equal. 50% is 0.5 and also 50: who is asked for percents may leave the sign out."""
    if one.percent == other.percent:
        return one.value == other.value
    percent, plain = (one, other) if one.percent else (other, one)
    return plain.value in (percent.value, percent.value / _HUNDRED)


def final_number(text: str) -> Number | None:
    """The number that the text ends in, or None when it holds none.

    Where an answer is announced, the last announcement counts: of its first clause the number after the last "=", or
    the first one. Digits stand for themselves in any writing (full width, 1,000, 三十五, 3万, 四分之三, 1 1/2, ½).
    """
    text = _plain(text)
    for mark in reversed(list(_MARK.finditer(text))):
        rest = text[mark.end() :].lstrip()
        end = _END.search(rest)
        said = rest[: end.start()] if end else rest
        result = said.rsplit("=", 1)[-1] if "=" in said else said
        if found := _numbers(result):
            return found[0]
    return found[-1] if (found := _numbers(text)) else None


def _numbers(text: str) -> list[Number]:
    """Numbers in order: those in digits; those in Chinese characters only when there are none, for 一 and 千 are words
    as well."""
    matches = list(_NUMBER.finditer(text))
    in_digits = [match for match in matches if any(character.isdigit() for character in match[0])]
    read = ((match, _value(match)) for match in in_digits or matches)
    return [
        Number(-value if match["sign"] or match["late"] else value, bool(match["percent"]))
        for match, value in read
        if value is not None
    ]


def _plain(text: str) -> str:
    """Half width, fractions written out, decimals after a point, thousands set apart by commas or not at all, no TeX
    around digits."""
    text = _CHINESE_COMMA.sub(", ", _NARROW_BLANK.sub("", text))
    text = unicodedata.normalize("NFKC", _VULGAR.sub(" ", text))
    text = _TEX_FRACTION.sub(r"\1/\2", text.replace("{,}", ",").replace("\\!", "").replace("\\%", "%"))
    text = text.replace("\\$", "$").replace("**", "")
    text = _BLANK_THOUSANDS.sub(lambda found: found[0].replace(" ", ""), text)
    text = _POINT_THOUSANDS.sub(lambda found: found[0].replace(".", ""), text)
    return _ONE_COMMA.sub(_decimal_comma, text)


def _decimal_comma(found: re.Match[str]) -> str:
    """The match with a point for its comma, unless that sets thousands apart or the two numbers are a pair."""
    whole, decimals = found["whole"], found["decimals"]
    if len(decimals) == 3 and len(whole) <= 3 and whole[0] != "0":
        return found[0]
    before = found.string[: found.start()].rstrip("+-−–")
    if before.endswith(("(", "[", "\\{")) and found.string[found.end() :].startswith((")", "]", "\\}")):
        return found[0]
    return f"{whole}.{decimals}"


def _value(found: re.Match[str]) -> Fraction | None:
    """The value of a match, without its sign; None for what is no quantity (3/0, or sixty digits)."""
    if len(found[0]) > _LONGEST:
        return None
    try:
        if found["whole"]:
            return int(found["whole"]) + Fraction(int(found["over"]), int(found["under"]))
        if found["top"]:
            return _fraction(found["top"]) / _fraction(found["bottom"])
    except ZeroDivisionError:
        return None
    if found["plain"]:
        return _fraction(found["plain"]) * _WORDS.get((found["scale"] or "").strip().lower(), 1)
    if found["parts"]:
        below = _chinese(found["parts"])
        return _chinese(found["of"]) / below if below else None
    return _chinese(found["chinese"])


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))


def _chinese(text: str) -> Fraction:
    """三千零五 as 3005, 二〇一九 as 2019, 三点五 as 3.5."""
    whole, _, decimals = text.partition("点")
    tail = "".join(str(_CHINESE_DIGITS[digit]) for digit in decimals)
    below = Fraction(int(tail), 10 ** len(tail)) if tail else Fraction(0)
    if not any(character in _CHINESE_UNITS for character in whole):
        return int("".join(str(_CHINESE_DIGITS[digit]) for digit in whole)) + below
    total, section, digit = 0, 0, 0
    for character in whole:
        if character in _CHINESE_DIGITS:
            digit = _CHINESE_DIGITS[character]
        elif (unit := _CHINESE_UNITS[character]) < 10_000:
            section += (digit or 1) * unit
            digit = 0
        elif unit == _CHINESE_UNITS["亿"]:
            total, section, digit = (total + section + digit) * unit, 0, 0
        else:
            total, section, digit = total + (section + digit) * unit, 0, 0
    return total + section + digit + below
