"""Phrases of answers that say nothing, English and Chinese: greetings, offers of further help, cookie notices.

What is left of a text is never empty: an answer that is all manners stays as it is. Knows nothing of rows.
"""

from __future__ import annotations

import polars as pl

_AGREED = r"(?:sure(?: thing)?|certainly|of course|absolutely|great question|no problem)"
_AGREED_ZH = r"(?:当然(?:可以)?|好的|没问题)"
# "Sure!" alone, or with a first line that only says that the answer follows.
_OPENING = (
    rf"^(?i:{_AGREED}[!,.]\s+(?:here(?:['’]s| is| are)|below (?:is|are)|i['’]d be (?:happy|glad) to)\b"
    r"[^\n]{0,160}[:.!]\s*\n+"
    rf"|{_AGREED}!\s+)"
    rf"|^{_AGREED_ZH}[！!，,。]\s*(?:以下|下面|这)是[^\n。！：:]{{0,80}}[：:。]\s*\n+|^{_AGREED_ZH}[！!]\s*"
)
_AS_A_MODEL = (
    r"(?i:(?-u:\b)as an? (?:ai|artificial intelligence)(?: language)?(?: model| assistant)?"
    r"(?: (?:developed|made) by \w+)?, )"
    r"|作为一个?(?:AI|人工智能)(?:语言)?(?:模型|助手)?，"
)
# Whole sentences at the end, so one must end before them.
_CLOSING = (
    r"([.!?:)\"”*`|\n])\s*(?i:"
    r"(?:i hope (?:this|that|it|these)\b[^\n.!?]{0,60}(?:help|useful|clear)[^\n.!?]{0,40}[.!]"
    r"|(?:please )?(?:let me know|feel free to (?:ask|reach out|contact))[^\n.!?]{0,120}[.!?]"
    r"|if you (?:have|need|['’]d like|would like)[^\n.!?]{0,120}(?:let me know|feel free|just ask|hesitate|reach out)"
    r"[^\n.!?]{0,60}[.!?]"
    r"|is there anything else (?:i can|you)[^\n.!?]{0,50}\?)\s*)+$"
)
_CLOSING_ZH = (
    r"([。！？：）”\n])\s*(?:希望(?:这|以上|我的|对)[^\n。！]{0,40}(?:帮助|有用)[^\n。！]{0,10}[。！]\s*"
    r"|如果?您?你?(?:还|有)?[^\n。！]{0,40}(?:问题|疑问|疑虑|需要|帮助)[^\n。！]{0,20}"
    r"(?:随时|请告诉我|请提问|请问我)[^\n。！]{0,12}[。！]\s*)+$"
)
_COOKIES = (
    r"(?im:^.{0,200}\b(?:(?:we|site) uses? cookies|accept(?: all)? cookies|use of cookies|cookie policy)\b.{0,200}$\n?)"
)
TRACES = (
    r"(?i-u:^sure|^certainly|^of course|^absolutely|^great q|^no problem|as an ai|as an artificial|i hope |let me know"
    r"|feel free|anything else|just ask|hesitate|reach out|cookie)|^当然|^好的|^没问题|作为|希望|如"
)
"""What a text must hold to be looked at."""


def without(texts: pl.Series) -> pl.Series:
    """The answers without such phrases at their beginning and end, and without lines of cookie notices."""
    bare = (
        texts.str.replace(_OPENING, "")
        .str.replace(_CLOSING, "${1}")
        .str.replace(_CLOSING_ZH, "${1}")
        .str.replace_all(_COOKIES, "")
        .str.replace_all(_AS_A_MODEL, "")
        .str.strip_chars()
    )
    return bare.zip_with(bare.str.contains(r"\w"), texts)
