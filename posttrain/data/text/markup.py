"""HTML that was left in prose, turned into the text that it stands for.

Not by an HTML parser: what it would be given is no document but prose in which <analogy>, List<User> and a < b mean
themselves. Only tags that mark line breaks, paragraphs and fonts are taken, and entities that Python's `html` knows.
Tables, links and whatever else carries meaning stay. Knows nothing of rows.
"""

from __future__ import annotations

import html

import polars as pl

_ATTRIBUTES = r"(?: [a-z-]+=[^<>\n]*)?"
_BREAK = r"(?i:<br ?/?>)"
_PARAGRAPH = rf"(?i:</?p{_ATTRIBUTES}>)"
_FONT = rf"(?i:</?(?:b|i|u|em|strong|small|big|span|font|center|div){_ATTRIBUTES}>)"
_REFERENCE = r"(?i:<ref(?: [^<>\n]*)?/>|<ref(?: [^<>\n]*)?>[^<>\n]*</ref>)"
_ENTITY = r"&(?:[A-Za-z]{2,8}|#x?[0-9A-Fa-f]{2,6});"

LEFT_OVER = f"{_BREAK}|{_PARAGRAPH}|{_FONT}|{_REFERENCE}|{_ENTITY}"
"""What a text must hold to be looked at."""
ABOUT_MARKUP = (
    r"(?i:html|xml|css|markup|markdown|javascript|\bphp|jsx|latex|\bcode\b|escap|entit(?:y|ies)|(?-u:\b)tags?(?-u:\b))"
    r"|标签|代码|网页|```|<(?:!|\?|/?(?i:head|body|script|style|table|pre|code|input|form|button|a|img|li|ul|td)[ >])"
)
"""A row with this in any of its texts may mean its tags and entities as they are."""


def plain(texts: pl.Series) -> pl.Series:
    """The texts without such markup. Whether a row is about markup, the caller must ask (`ABOUT_MARKUP`)."""
    at = texts.str.contains(_ENTITY).arg_true()
    if len(at):
        texts = texts.clone().scatter(at, [html.unescape(text) for text in texts.gather(at)])
    return (
        texts.str.replace_all(_REFERENCE, "")
        .str.replace_all(rf"[ \t]*{_BREAK}[ \t]*\n?", "\n")
        .str.replace_all(rf"\s*{_PARAGRAPH}\s*", "\n\n")
        .str.replace_all(_FONT, "")
        .str.replace_all(r"\n{3,}", "\n\n")
        .str.strip_chars()
    )
