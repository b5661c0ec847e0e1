"""How much a text repeats itself: the share of distinct runs of four words in its most repetitive part.

Texts in ASCII, most of English, have a way of their own from bytes to hashes of words, three times as fast as that of
`codes.py`, with the same result. Knows nothing of rows or rules.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from posttrain.data.text import codes
from posttrain.data.text.codes import Ragged, mixed

RUN = 4
"""Words that are compared at a time; in Chinese, characters. See `distinct_shares`."""
_BLOCK = 1 << 17
_BEYOND_ASCII = r"[^\x00-\x7f]"
# Punctuation and signs beyond ASCII that part words just as a blank does; no letters, digits or numbers among them.
_PUNCTUATION = r"[\x{a0}\x{a1}\x{ab}\x{b0}\x{b7}\x{bb}\x{bf}\x{d7}\x{2010}-\x{2027}\x{2030}-\x{205e}\x{20a0}-\x{20bf}]"
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
_FIRST_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)
# Byte -> the letter in lower case or the digit; 0 for what is part of no word.
_LETTERS = np.array([ord(chr(byte).lower()) * (byte < 128 and chr(byte).isalnum()) for byte in range(256)], np.uint8)


def distinct_shares(texts: pl.Series) -> pl.Series:
    """Share of distinct runs of four words in the most repetitive window of some 50 words of each text, 0 to 1.

    S3 demands distinct words / all words of at least 0.70 to catch loops and filler. Taken literally, that drops 53 %
    of the Alpaca answers, 59 % of the Chinese ones and 99 % of GSM8K, because common words, characters and numbers
    come back in any text. Runs of four come back only where a text repeats itself: 0.70 then drops 0.2 %, 0.0 % and
    0.0 % of them, and finds 94 % (Chinese 97 %) of the same answers with a clause that comes four to eight times more.
    Each Chinese character is a word here: words cut by a segmenter told loops from good text no better.

    A text of fewer than eight words counts as 1.
    """
    others = texts.str.contains(_BEYOND_ASCII)
    plain = texts.filter(others).str.replace_all(_PUNCTUATION, " ")
    still = plain.str.contains(_BEYOND_ASCII)
    at, rest = (~others).arg_true().to_numpy(), others.arg_true().to_numpy()
    shares = np.ones(len(texts))
    shares[at] = _shares(texts.gather(at), _ascii_words)
    shares[rest[~still.to_numpy()]] = _shares(plain.filter(~still), _ascii_words)
    shares[rest[still.to_numpy()]] = _shares(plain.filter(still), _any_words)
    return pl.Series(texts.name, shares)


def _shares(texts: pl.Series, words: Callable[[pl.Series], Ragged]) -> np.ndarray:
    parts = [codes.distinct_word_shares(_joined(words(block), RUN - 1)) for _, block in codes.blocks(texts, _BLOCK)]
    return np.concatenate([np.ones(0), *parts])


def _any_words(texts: pl.Series) -> Ragged:
    return codes.words(codes.folded(codes.codes(texts)))


def _ascii_words(texts: pl.Series) -> Ragged:
    """A hash (uint64) for each word of each text in ASCII, from its length, its first 16 bytes and its last eight."""
    found = texts.to_list()
    joined = "\n".join(found).encode() + b"\n" + bytes(16)
    letters = _LETTERS.take(np.frombuffer(joined, np.uint8))
    inside = letters != 0
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    edges = np.concatenate(([0], edges)) if inside[0] else edges
    starts, stops = edges[0::2], edges[1::2]
    sizes = stops - starts
    eight = np.ndarray((len(letters) - 7,), "<u8", letters.data, strides=(1,))  # at each byte, it and the next seven
    hashes = (eight[starts] & _FIRST_BYTES[np.minimum(sizes, 8)]) * _FACTORS[0]
    long = np.flatnonzero(sizes > 8)
    middle = eight[np.minimum(starts[long] + 8, stops[long] - 8)]
    last = eight[stops[long] - 8] * _FACTORS[1]
    hashes[long] += mixed(last ^ middle ^ (sizes[long].astype(np.uint64) * _FACTORS[2]))
    lengths = np.fromiter(map(len, found), np.int64, len(found))
    ends = np.cumsum(lengths + 1) - 1
    return Ragged(mixed(hashes), np.searchsorted(starts, ends - lengths), np.searchsorted(starts, ends))


def _joined(words: Ragged, size: int) -> Ragged:
    """A hash for each run of `size` words: pairs of runs of three are runs of four."""
    values = words.values.copy()
    for offset in range(1, size):
        values[:-offset] = mixed(values[:-offset]) + words.values[offset:]
    return Ragged(values, words.starts, np.maximum(words.ends - (size - 1), words.starts))
