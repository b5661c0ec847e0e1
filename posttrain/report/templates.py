"""The page's templates, and how they spell names and values. Escapes everything that it is given; knows no report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from posttrain.data.rows import shorten
from posttrain.wording import duration, number

if TYPE_CHECKING:
    from jinja2 import Environment


def environment() -> Environment:
    """The templates, with everything escaped that they are given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("posttrain", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"number": number, "duration": duration, "words": words, "tidy": tidy, "short": shorten}
    return found


def words(name: str) -> str:
    """`slot_f1` → slot F1, `valid_json` → valid JSON."""
    return name.replace("_", " ").replace("f1", "F1").replace("json", "JSON")


def tidy(text: str) -> str:
    """JSON on several lines, so that long outputs can be compared by eye; anything else as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return json.dumps(value, ensure_ascii=False, indent=1) if isinstance(value, dict | list) else text
