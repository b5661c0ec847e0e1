"""Data Docs that can be read offline: an index page of our own, and a plain style for every page.

Great Expectations' pages load their styles, and its index even its content, from the network. Its index stays
beside ours as `great_expectations.html`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

STYLE = (
    "<style>body{font-family:system-ui,sans-serif;line-height:1.5;max-width:72rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{border:1px solid #8885;padding:.3rem .6rem;text-align:left;"
    "vertical-align:top;overflow-wrap:anywhere}th{white-space:nowrap}</style>"
)


@dataclass(frozen=True)
class Line:
    """One line of the index: a check, how many rows it read, and what it found, in words."""

    name: str
    rows: int
    found: Sequence[str]


def finish(folder: Path, suite: str, lines: Sequence[Line]) -> Path:
    """Make the Data Docs in `folder` readable offline; the path of the new index page."""
    index = folder / "index.html"
    index.replace(folder / "great_expectations.html")
    for page in folder.rglob("*.html"):
        page.write_text(page.read_text(encoding="utf-8").replace("<head>", f"<head>{STYLE}", 1), encoding="utf-8")
    index.write_text(_index(folder, suite, lines), encoding="utf-8")
    return index


def _index(folder: Path, suite: str, lines: Sequence[Line]) -> str:
    body = "".join(_row(folder, line) for line in lines)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data Docs: {escape(suite)}</title>{STYLE}'
        f"</head><body><h1>Data Docs: suite {escape(suite)}</h1><table><tr><th>Rows</th><th>Checked</th>"
        f"<th>Expectations that do not hold</th></tr>{body}</table>"
        f'<p><a href="expectations/{quote(suite)}.html">The suite</a> · '
        '<a href="great_expectations.html">Great Expectations’ own index</a> (needs a network)</p></body></html>\n'
    )


def _row(folder: Path, line: Line) -> str:
    found = "<br>".join(map(escape, line.found)) or "none"
    page = next((folder / "validations").rglob(f"*-{line.name}.html"), None)
    name = escape(line.name)
    if page:
        name = f'<a href="{quote(page.relative_to(folder).as_posix())}">{name}</a>'
    return f"<tr><th>{name}</th><td>{line.rows:,} rows</td><td>{found}</td></tr>"
