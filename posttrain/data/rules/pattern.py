"""Regular expressions over columns: Python's meaning (which Great Expectations gives them) at Polars' speed.

Rust's engine, which Polars uses, differs from Python's in details: what `\\w` and `\\s` are beyond ASCII, `$` before a
last line break, look-around, flags. Patterns of a plain shape are translated; the rest is left to Python. Knows
nothing of rules.
"""

from __future__ import annotations

import re
from functools import lru_cache

import polars as pl

_MARKS = r"nrt.*+?()\[\]{}^$|\\/'\":;,!@%_=~\-#&"
_CODE = r"\\x[0-9a-fA-F]{2} | \\u[0-9a-fA-F]{4}"
_IN_SET = rf"(?: [^\\\[\]&~^-] | \\[nrt\]\[\\^.-] | {_CODE} )"
_PLAIN = re.compile(
    rf"""(?:
        \(\?: | \((?!\?) | [|^]
      | (?: [^\\\[\](){{}}^$|*+?] | \\[{_MARKS}] | \\[dDwWsSbB] | {_CODE} | \)
          | \[\^? (?: {_IN_SET}(?:-{_IN_SET})? | \\[dDwWsS] )+ -? \] )
        (?: (?: [*+?] | \{{\d+(?:,\d*)?\}} ) \?? )?  (?![*+?{{])
    )* \$?""",
    re.VERBOSE,
)
_CLASSES = {r"\s": r"[\s\x1c-\x1f]", r"\S": r"[^\s\x1c-\x1f]", r"\w": r"[\p{L}\p{N}_]", r"\W": r"[^\p{L}\p{N}_]"}
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_BEYOND_ASCII = r"[^\x00-\x7f]"


@lru_cache(maxsize=256)
def _rust(pattern: str) -> str | None:
    """The pattern in Rust's spelling; None when it is not of the plain shape."""
    if not _PLAIN.fullmatch(pattern):
        return None
    at_end = _ESCAPE.sub("", pattern).endswith("$")
    body = pattern[:-1] + r"(?:\n?\z)" if at_end else pattern
    return _ESCAPE.sub(lambda found: _CLASSES.get(found[0], found[0]), body)


def contains(texts: pl.Series, pattern: str) -> pl.Series:
    """Whether the pattern is found anywhere in each text, as `re.search` has it; null for null."""
    rust = _rust(pattern)
    if rust is None:
        return _by_python(texts, pattern)
    try:
        found = texts.str.contains(rust)
    except pl.exceptions.ComputeError:  # beyond the size that Rust's engine allows
        return _by_python(texts, pattern)
    if r"\b" in pattern or r"\B" in pattern:  # word borders beyond ASCII are drawn differently
        unsure = texts.str.contains(_BEYOND_ASCII).fill_null(False)
        if unsure.any():
            found = found.scatter(unsure.arg_true(), _by_python(texts.filter(unsure), pattern))
    return found


def _by_python(texts: pl.Series, pattern: str) -> pl.Series:
    search = re.compile(pattern).search
    found = [None if text is None else search(text) is not None for text in texts]
    return pl.Series(texts.name, found, dtype=pl.Boolean)
