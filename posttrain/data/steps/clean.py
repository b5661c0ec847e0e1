"""Curation step: tidy texts without changing what they say. Never drops a row, so the test split takes it too.

All texts of a row are tidied alike, its prompt, every turn and the values of its label, so that a slot value is still
found in its prompt. Knows nothing of files or other steps.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import polars as pl

from posttrain.data import findings
from posttrain.data.text import boilerplate, markup
from posttrain.data.text.invisible import HIDDEN, visible
from posttrain.data.text.prose import is_code
from posttrain.data.text.unfold import Unfolded
from posttrain.spec.sections.clean import CleanSpec

# Ends of lines, and blanks of other kinds; not the Chinese blank, which indents paragraphs.
_LINE_END, _BLANK = r"\r\n?|[\x{2028}\x{2029}]", r"[\x{a0}\x{2000}-\x{200a}\x{202f}\x{205f}]"


@dataclass(frozen=True)
class Clean:
    """Tidy a batch of rows."""

    spec: CleanSpec = field(default_factory=CleanSpec)

    def apply(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows, tidied, and a finding (verdict warn) for each that changed; its value says how.

        That is the settings of `CleanSpec` that changed it, and "json". In rows whose answer is JSON, runs of blanks
        become one in every text, and the JSON is spelled as Python's `json.dumps` does.
        """
        tidying = _Tidying(Unfolded.of(rows))
        for kind, step in _STEPS.items():
            if getattr(self.spec, kind):
                step(tidying)
        tidied = tidying.unfolded.folded(rows, tidying.texts)
        return tidied, _said(rows, tidied, tidying.done)


@dataclass
class _Tidying:
    """Texts on their way, and the rows that each kind of change has touched."""

    unfolded: Unfolded
    texts: pl.Series = field(init=False)
    done: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.texts = self.unfolded.texts.clone()  # Series.scatter changes in place

    def change(self, kind: str, at: pl.Series, tidy: Callable[[pl.Series], pl.Series]) -> None:
        """Tidy the texts at these positions, and note whose texts that changed."""
        if not len(at):
            return
        before = self.texts.gather(at)
        after = tidy(before)
        changed = at.filter(before != after).to_numpy()
        if len(changed):
            self.texts.scatter(at, after)
            touched = self.unfolded.rows[changed]
            self.done[kind] = np.union1d(self.done.get(kind, touched), touched)

    def holding(self, pattern: str) -> pl.Series:
        """The positions of the texts that hold this."""
        return self.texts.str.contains(pattern).arg_true()


def _markup(tidying: _Tidying) -> None:
    at = tidying.holding(markup.LEFT_OVER)
    rows = tidying.unfolded.rows
    company = pl.Series(np.flatnonzero(np.isin(rows, rows[at.to_numpy()])))
    about = company.filter(tidying.texts.gather(company).str.contains(markup.ABOUT_MARKUP))
    tidying.change("markup", at.filter(~np.isin(rows[at.to_numpy()], rows[about.to_numpy()])), markup.plain)


def _unicode(tidying: _Tidying) -> None:
    tidying.change("unicode", tidying.holding(_composable()), lambda texts: texts.str.normalize("NFC"))


def _invisible(tidying: _Tidying) -> None:
    tidying.change("invisible", tidying.holding(HIDDEN), visible)


def _spaces(tidying: _Tidying) -> None:
    tidying.change("spaces", tidying.holding(f"{_LINE_END}|{_BLANK}"), _plainly_spaced)
    tidying.change("spaces", (tidying.texts.str.strip_chars() != tidying.texts).arg_true(), _stripped)
    tidying.change("spaces", tidying.unfolded.labelled.arg_true(), _evenly_spaced)


def _boilerplate(tidying: _Tidying) -> None:
    at = tidying.unfolded.prose.arg_true()
    at = at.filter(tidying.texts.gather(at).str.contains(boilerplate.TRACES))
    tidying.change("boilerplate", at, boilerplate.without)


# Markup first, for an entity may stand for a blank, a mark or a character that cannot be seen.
_STEPS = {
    "markup": _markup,
    "unicode": _unicode,
    "invisible": _invisible,
    "spaces": _spaces,
    "boilerplate": _boilerplate,
}


def _plainly_spaced(texts: pl.Series) -> pl.Series:
    return texts.str.replace_all(_LINE_END, "\n").str.replace_all(_BLANK, " ")


def _stripped(texts: pl.Series) -> pl.Series:
    """Without blanks at the ends; code, and lines that are all indented, keep the indentation of the first line."""
    lines = texts.str.replace(r"\A(?:[^\S\n]*\n)+", "").str.strip_chars_end()
    indented = lines.str.contains("\n", literal=True) & ~lines.str.contains(r"\n\S")
    return lines.zip_with(indented | is_code(lines), lines.str.strip_chars_start())


def _evenly_spaced(texts: pl.Series) -> pl.Series:
    """Runs of blanks as one, line by line: lines may carry meaning."""
    return texts.str.replace_all(r"[^\S\n]+", " ").str.replace_all(r"(?m:^ | $)", "")


@lru_cache(maxsize=1)
def _composable() -> str:
    """Characters that NFC may change or join to the one before: marks, parts of Hangul syllables, second spellings."""
    codes = (*range(0x300, 0xD800), *range(0xF900, 0x10000), *range(0x2F800, 0x2FA20))
    second = "".join(chr(code) for code in codes if not unicodedata.is_normalized("NFC", chr(code)))
    return rf"[\p{{M}}\x{{1160}}-\x{{11ff}}{second}]"


def _said(before: pl.DataFrame, after: pl.DataFrame, done: dict[str, np.ndarray]) -> pl.DataFrame:
    """A finding for each row that changed."""
    respelled = np.zeros(before.height, bool)
    for name in before.columns:
        respelled |= (before[name] != after[name]).to_numpy()
    rows = np.flatnonzero(respelled)
    kinds = {kind: np.isin(rows, touched) for kind, touched in done.items()}
    kinds["json"] = ~np.logical_or.reduce([*kinds.values(), np.zeros(len(rows), bool)])
    values = [", ".join(kind for kind, flags in kinds.items() if flags[place]) for place in range(len(rows))]
    return findings.findings(pl.Series(rows), values, "tidy text", verdict="warn")
