"""`curate.clean`: what is tidied in every text."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting


class CleanSpec(Frozen):
    """What is tidied in every text, prompts, answers and conversations alike; no row is dropped."""

    unicode: bool = setting(True, "Characters in their composed form (NFC); é is one character, ① stays what it is.")
    invisible: bool = setting(
        True, "Take out what cannot be seen: byte-order marks, zero-width blanks, soft hyphens, stray direction marks."
    )
    spaces: bool = setting(True, "Line ends as \\n, odd blanks as blanks, no blanks around a text.")
    markup: bool = setting(
        True,
        "HTML left in prose: <br> becomes a line break, &amp; an &, <b> goes. Rows that are about markup or hold code "
        "are left alone.",
    )
    boilerplate: bool = setting(
        False,
        'Take out of answers what says nothing: "Sure! Here is …:", "As an AI language model,", "I hope this helps!", '
        "cookie notices. Off, since a chat model may want its manners.",
    )
