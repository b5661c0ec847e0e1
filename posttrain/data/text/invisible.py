"""Characters that cannot be seen: which of them may go, and which mean something in the script they stand in.

Knows nothing of rows.
"""

from __future__ import annotations

import polars as pl

_ALWAYS = r"[\x{feff}\x{2060}\x{ad}\x{fff9}-\x{fffb}]"
# Blanks of no width part words in scripts that have no others: Thai, Lao, Burmese, Khmer.
_NO_WIDTH, _WITHOUT_BLANKS = r"\x{200b}", r"[\x{e00}-\x{eff}\x{1000}-\x{109f}\x{1780}-\x{17ff}]"
_DIRECTIONS, _RIGHT_TO_LEFT = r"[\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}]", r"[\x{590}-\x{8ff}]"
# Joiners belong to emoji and to Arabic and Indic scripts; between Latin or Chinese letters they join nothing.
_JOINERS = r"([a-zA-Z\x{3400}-\x{9fff}])[\x{200c}\x{200d}]+([a-zA-Z\x{3400}-\x{9fff}])"
# Letters that nobody sees, good for smuggling text past people; flags of regions are spelled with them as well.
_TAGS, _FLAG = r"[\x{e0000}-\x{e007f}]", r"\x{1f3f4}"

HIDDEN = (
    r"[\x{feff}\x{2060}\x{ad}\x{fff9}-\x{fffb}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}\x{e0000}-\x{e007f}]"
)
"""What a text must hold to be looked at."""


def visible(texts: pl.Series) -> pl.Series:
    """The texts without byte-order marks, blanks of no width, soft hyphens, stray direction marks and joiners."""
    texts = texts.str.replace_all(_ALWAYS, "").str.replace_all(_JOINERS, "${1}${2}")
    for pattern, wanted_by in ((_NO_WIDTH, _WITHOUT_BLANKS), (_DIRECTIONS, _RIGHT_TO_LEFT), (_TAGS, _FLAG)):
        texts = texts.str.replace_all(pattern, "").zip_with(~texts.str.contains(wanted_by), texts)
    return texts
