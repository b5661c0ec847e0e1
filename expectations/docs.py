"""Data Docs that can be read offline: an index of our own, and a plain style for every page.

Great Expectations' pages load styles, scripts and pictures from the network, and its index even its content. All that
is taken out: the pages are plain documents, with nothing hidden. Secrets and personal data are masked, for Data Docs
are passed around. Knows nothing of rules.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

import polars as pl

from posttrain.data.text.privacy import masked

STYLE = """<style>
:root{color-scheme:light dark}
body{font-family:system-ui,sans-serif;line-height:1.5;max-width:80rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:.5rem 0}
td,th{border:1px solid #8885;padding:.3rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
nav ol{display:flex;gap:.5rem;list-style:none;padding:0}
nav ol li+li::before{content:"/ "}
.ge-section{margin:1.5rem 0}
.badge{border:1px solid #8885;border-radius:.3rem;padding:0 .3rem;font-family:ui-monospace,monospace;font-size:.9em}
.card-header .btn,.btn-group,.sticky .card.mb-3{display:none}
.fa-times::before,.fa-times-circle::before{content:"✗";color:#c22}
.fa-check-circle::before,.fa-check::before{content:"✓";color:#282}
.fa-exclamation-triangle::before{content:"!";color:#b70}
pre,code{white-space:pre-wrap;overflow-wrap:anywhere}
</style>"""
_REMOTE = re.compile(r"<(script|noscript|footer)\b.*?</\1>|<(?:link|img)\b[^>]*>", re.DOTALL)


@dataclass(frozen=True)
class Line:
    """One line of the index: a check, its suite, how many rows it read (of how many, if not all), what it found."""

    name: str
    suite: str
    rows: int
    of: int
    found: Sequence[str]


def finish(folder: Path, lines: Sequence[Line], notes: Sequence[str] = ()) -> Path:
    """Make the Data Docs in `folder` readable offline; the path of the new index page."""
    shutil.rmtree(folder / "static", ignore_errors=True)
    for page in folder.rglob("*.html"):
        lines_shown = pl.Series(_REMOTE.sub("", page.read_text(encoding="utf-8")).split("\n"))
        text = "\n".join(masked(lines_shown))
        page.write_text(text.replace("<head>", f"<head>{STYLE}", 1), encoding="utf-8")
    index = folder / "index.html"
    index.write_text(_index(folder, lines, notes), encoding="utf-8")
    return index


def _index(folder: Path, lines: Sequence[Line], notes: Sequence[str]) -> str:
    body = "".join(_row(folder, line) for line in lines)
    said = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data Docs</title>{STYLE}</head>'
        f"<body><h1>Data Docs</h1>{said}<table><tr><th>Rows</th><th>Checked by Great Expectations</th><th>Suite</th>"
        f"<th>Expectations that do not hold</th></tr>{body}</table></body></html>\n"
    )


def _row(folder: Path, line: Line) -> str:
    found = "<br>".join(map(escape, line.found)) or "none"
    page = next((folder / "validations").rglob(f"*-{line.name}.html"), None)
    checked = f"{line.rows:,} of {line.of:,} rows" if line.of > line.rows else f"{line.rows:,} rows"
    name = _link(escape(line.name), page.relative_to(folder).as_posix() if page else "")
    suite = _link(escape(line.suite), f"expectations/{line.suite}.html")
    return f"<tr><th>{name}</th><td>{checked}</td><td>{suite}</td><td>{found}</td></tr>"


def _link(text: str, target: str) -> str:
    return f'<a href="{quote(target)}">{text}</a>' if target else text
