"""Values as texts state them: numbers with units, years, dates, in English and Chinese, and when two of them agree.

Knows nothing of tables or rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

EXACT_BELOW = 1000
"""Smaller whole numbers are counts, which prose does not round."""


@dataclass(frozen=True)
class Stated:
    """A value in a text: its words, where they begin, and what they may mean.

    `numbers` has more than one entry where the notation is ambiguous (709.000). `dimension` is that of its unit ("m"
    for any length; "" without unit), and numbers are in that unit. `date` is (year, month or 0, day or 0).
    """

    text: str
    start: int
    numbers: tuple[float, ...] = ()
    dimension: str = ""
    date: tuple[int, int, int] | None = None


# --- numbers -------------------------------------------------------------------------------------------------

_UNIT_WORDS = {
    "m2": {"km²|km2|sq(?:uare|\\.)? ?(?:km|kilomet(?:er|re)s?)|平方公里|平方千米": 1e6}
    | {"m²|m2|square met(?:er|re)s?|平方米": 1.0, "square miles?|sq mi|平方英里": 2_589_988.11},
    "m": {"mm|millimet(?:er|re)s?|毫米": 1e-3, "cm|centimet(?:er|re)s?|厘米": 1e-2, "m|met(?:er|re)s?|米": 1.0}
    | {"km|kilomet(?:er|re)s?|公里|千米": 1e3, "miles?|英里": 1609.344, "ft|feet|foot|英尺": 0.3048},
    "kg": {"g|grams?|克": 1e-3, "kg|kilograms?|千克|公斤": 1.0, "tonnes?|吨": 1e3, "lbs?|pounds?|磅": 0.45359237},
    "s": {"seconds?|秒": 1.0, "minutes?|分钟": 60.0, "hours?|小时": 3600.0, "days?|天": 86400.0},
    "%": {"%|％|percent|per cent": 1.0},
    "°C": {"°C|℃|degrees? celsius|摄氏度": 1.0},
    "USD": {"USD|dollars?|美元": 1.0},
    "EUR": {"EUR|€|euros?|欧元": 1.0},
    "CNY": {"CNY|RMB|yuan|元|人民币": 1.0},
}
_UNITS = {word: (dimension, size) for dimension, words in _UNIT_WORDS.items() for word, size in words.items()}
_UNIT = "|".join(_UNITS)
_SCALES = {"thousand": 1e3, "k": 1e3, "million": 1e6, "billion": 1e9, "bn": 1e9, "trillion": 1e12} | {
    "千": 1e3, "万": 1e4, "百万": 1e6, "千万": 1e7, "亿": 1e8, "万亿": 1e12,
}  # fmt: skip
_SCALE = r"(?:thousand|million|billion|trillion|bn|k)\b|万亿|千万|百万|[千万亿]"
_DIGITS = r"\d{1,3}(?:[,\u00a0\u202f '’]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:[.,]\d+)*"
_CHINESE = r"[零〇一二两三四五六七八九十百千万亿]{2,}"
_NUMBER = re.compile(
    rf"(?<![A-Za-zÀ-ÿ\d.,])(?P<sign>[-−]?)(?P<money>[$€¥]?)(?:(?P<digits>{_DIGITS})\s?(?P<scale>{_SCALE})?)"
    rf"\s?(?P<unit>(?:{_UNIT})(?![A-Za-z²]))?|(?P<chinese>{_CHINESE})(?P<unit2>{_UNIT})?",
    re.IGNORECASE,
)
_MONEY = {"$": "USD", "€": "EUR", "¥": "CNY"}


def numbers(text: str) -> Iterator[Stated]:
    """Every number of a text, with its unit."""
    for found in _NUMBER.finditer(text):
        if found["chinese"]:
            values = _chinese_readings(found["chinese"])
        else:
            scale = _SCALES.get((found["scale"] or "").lower(), 1.0) * (-1 if found["sign"] else 1)
            values = tuple(value * scale for value in _readings(found["digits"]))
        dimension, size = _unit(found["unit"] or found["unit2"] or "")
        dimension = _MONEY.get(found["money"] or "", dimension)
        if values:
            yield Stated(found[0].strip(), found.start(), tuple(value * size for value in values), dimension)


@lru_cache(maxsize=1024)
def _unit(word: str) -> tuple[str, float]:
    for pattern, meaning in _UNITS.items():
        if word and re.fullmatch(pattern, word, re.IGNORECASE):
            return meaning
    return "", 1.0


def _readings(digits: str) -> tuple[float, ...]:
    """What a written number may mean: dots and commas mark thousands or decimals."""
    plain = re.sub(r"[\u00a0\u202f '’]", "", digits)
    if "," in plain and "." in plain:
        decimal = max(plain.rfind(","), plain.rfind("."))
        whole = re.sub(r"[.,]", "", plain[:decimal])
        return (float(f"{whole}.{plain[decimal + 1 :]}"),)
    parts = re.split(r"[.,]", plain)
    if len(parts) > 2:  # 1.234.567, or a version
        return (float("".join(parts)),) if all(len(part) == 3 for part in parts[1:]) else ()
    if len(parts) == 1:
        return (float(plain),)
    grouped = len(parts[1]) == 3 and parts[0] != "0" and len(parts[0]) <= 3
    if grouped and "," in plain:
        return (float("".join(parts)),)
    decimal_reading = float(".".join(parts))
    return (decimal_reading, float("".join(parts))) if grouped else (decimal_reading,)


_CHINESE_DIGITS = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_CHINESE_UNITS = {"十": 10, "百": 100, "千": 1000}


def _chinese_readings(text: str) -> tuple[float, ...]:
    """三百二十一 → 321, 七十万 → 700,000, 二〇二〇 → 2020; none where it is no number."""
    if not any(sign in _CHINESE_UNITS or sign in "万亿" for sign in text):
        return (float("".join(str(_CHINESE_DIGITS[sign]) for sign in text)),)
    total = section = digit = 0
    for sign in text:
        if sign in _CHINESE_DIGITS:
            digit = _CHINESE_DIGITS[sign]
        elif sign in _CHINESE_UNITS:
            section += (digit or 1) * _CHINESE_UNITS[sign]
            digit = 0
        elif section or digit or total:
            section += digit
            total = (total + section) * 100_000_000 if sign == "亿" else total + section * 10_000
            section = digit = 0
        else:
            return ()
    return (float(total + section + digit),)


def same_number(stated: Stated, reference: Stated, tolerance: float) -> bool:
    """Whether one of the readings is the reference's, within a share of it; whole numbers below 1,000 exactly."""
    return any(_near(one, other, tolerance) for one in stated.numbers for other in reference.numbers)


def _near(one: float, other: float, tolerance: float) -> bool:
    counts = one.is_integer() and other.is_integer() and abs(other) < EXACT_BELOW
    return abs(one - other) <= abs(other) * (0 if counts else max(tolerance, 1e-9))


# --- dates ---------------------------------------------------------------------------------------------------

_CHINESE_YEAR = re.compile("[一二][零〇一二三四五六七八九]{3}(?=年)")
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_MONTH = rf"(?:{_MONTHS}|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.?)"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_CHINESE_DATE = r"(?P<y>[12]\d{3})\s?年(?:\s?(?P<m>\d{1,2})\s?月(?:\s?(?P<d>\d{1,2})\s?日)?)?"
_FORMS = (
    r"(?<!\d)\d{4}-\d{1,2}-\d{1,2}",
    rf"(?<!\d){_DAY}(?: of)? {_MONTH},? \d{{4}}",
    rf"{_MONTH} {_DAY},? \d{{4}}",
    rf"{_MONTH},? \d{{4}}",
    rf"(?<!\d){_CHINESE_DATE}",
    r"(?<![\d.,$€¥])[12]\d{3}(?![\d,.]\d|\d)",
)
_DATE = re.compile("|".join(_FORMS), re.IGNORECASE)


def dates(text: str) -> Iterator[Stated]:
    """Every date of a text, to the day, the month or the year, as far as it says."""
    text = _CHINESE_YEAR.sub(lambda year: f"{_chinese_readings(year[0])[0]:.0f}", text)
    for found in _DATE.finditer(text):
        if found["y"]:
            date = (int(found["y"]), int(found["m"] or 0), int(found["d"] or 0))
        elif found[0].isdigit():
            date = (int(found[0]), 0, 0)
        else:
            parsed = _parsed(found[0])
            if parsed is None:
                continue
            date = parsed
        yield Stated(found[0], found.start(), date=date)


@lru_cache(maxsize=65_536)
def _parsed(text: str) -> tuple[int, int, int] | None:
    """A date in words or digits; a day that is not said is 0."""
    from datetime import datetime

    from dateutil import parser

    try:
        first, second = (parser.parse(text, default=datetime(2000, 1, day)) for day in (1, 2))
    except (ValueError, OverflowError):
        return None
    return first.year, first.month, first.day if first.day == second.day else 0


def same_date(stated: Stated, reference: Stated) -> bool:
    """Whether the dates agree as far as both are said: 1905 agrees with 7 June 1905."""
    if stated.date is None or reference.date is None:
        return False
    return all(one == other or not one or not other for one, other in zip(stated.date, reference.date, strict=True))


# --- names ---------------------------------------------------------------------------------------------------

_CAPITALIZED = r"[A-ZÀ-ÖØ-Þ][\w’'.-]*[\w]"
NAME = rf"{_CAPITALIZED}(?: (?:(?:of|de|da|van|von|the|and) )?{_CAPITALIZED}){{0,4}}"
_HAN = r"[\u4e00-\u9fff·]{2,6}(?=[，。；！,.;!\s]|$)"
_NO_NAME = r"(?!What\b|Who\b|When\b|Where\b|Which\b|How\b|Why\b|The\b|It\b|He\b|She\b|They\b|This\b|There\b|In\b)"
_NAMED = (
    re.compile(rf"(?:\b(?:is|was|are|were|called|named|by)|[:：])\s+(?:the )?({NAME})"),
    re.compile(rf"^\W*(?:The )?{_NO_NAME}({NAME}) (?:is|was|are|were|wrote|has)\b"),
    re.compile(rf"^\W*{_NO_NAME}({NAME})\W*$"),
    re.compile(rf"(?:是|为|叫|叫做|[:：])({_HAN})"),
)


def names(text: str) -> Iterator[Stated]:
    """What a short statement names: after "is", "by" or a colon, as its subject, or as all of it."""
    for pattern in _NAMED:
        for found in pattern.finditer(text):
            yield Stated(found[1], found.start(1))
