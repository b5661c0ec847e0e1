"""Texts as arrays say what `words.py` says of them, text by text."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from posttrain.data.text.codes import Ragged, blocks, codes, distinct_word_shares, folded, shingles, words
from posttrain.data.text.words import distinct_word_share, key
from posttrain.data.text.words import words as words_of

PIECES = (
    *"aB zZ09_-.,!?\n\t",
    *"éÉßẞİŉﬁﬀΣςǅÅ½²ⅷ１Ａ",
    *"我用。，「」カナ・ーひら々〇㐀龥",
    *"नहिंदीกำעבתأँ한국어",
    *"👍🏽👩‍💻𝒜𐐀𠀀𪜶🀄",
    *"e\u0301\u200b\u00a0\u3000\ufeff\ufffd\u0345",
    "python写代码", " 中文 ", "word ", "the the ",
)  # fmt: skip


def random_texts(count: int, longest: int) -> list[str]:
    chance = random.Random(0)
    return ["".join(chance.choices(PIECES, k=chance.randrange(longest))) for _ in range(count)]


def of(texts: list[str]) -> Ragged:
    return folded(codes(pl.Series(texts, dtype=pl.String)))


def text_of(row: np.ndarray) -> str:
    return row.astype("<u4").tobytes().decode("utf-32-le")


EDGES = ["", " ", "?!", "a", "ß", "中", "中文", "a中b", "...a...", "A  B", "x" * 300]


@pytest.mark.parametrize("texts", [EDGES, random_texts(2000, 40), ["plain ascii", "only, here!"], [""], []])
def test_folded_is_the_key(texts: list[str]) -> None:
    found = of(texts)
    assert [text_of(found.row(number)) for number in range(found.rows)] == [key(text) for text in texts]


def test_every_character_folds_as_in_the_key() -> None:
    numbers = [*range(0x1000), *range(0x1000, 0x33000, 3), *range(0x33000, 0x110000, 251)]
    texts = [f"x{chr(code)}y" for code in numbers if not 0xD800 <= code < 0xE000]
    for _, part in blocks(pl.Series(texts), 1 << 20):
        found = of(part.to_list())
        spaced = text_of(found.values)[1:]
        assert spaced == "".join(key(text) + " " for text in part)


def test_equal_words_and_only_they_have_equal_hashes() -> None:
    texts = [*EDGES, *random_texts(500, 60)]
    found = words(of(texts))
    names: dict[int, str] = {}
    for number, text in enumerate(texts):
        row = found.row(number).tolist()
        assert len(row) == len(words_of(text))
        for value, word in zip(row, words_of(text), strict=True):
            assert names.setdefault(value, word) == word
    assert len(names) == len({word for text in texts for word in words_of(text)})


def test_shingles_are_runs_of_four_with_a_space_at_both_ends() -> None:
    texts = [*EDGES, *random_texts(500, 60)]
    found = shingles(of(texts))
    names: dict[int, str] = {}
    for number, text in enumerate(texts):
        plain = f" {key(text)} "
        expected = [plain[at : at + 4] for at in range(max(1, len(plain) - 3))] if key(text) else []
        row = found.row(number).tolist()
        assert len(row) == len(expected), text
        for value, part in zip(row, expected, strict=True):
            assert names.setdefault(value, part) == part
    assert len(set(names.values())) == len(names)


def test_hashes_spread_over_all_bits() -> None:
    """Of 26 ** 2 two-letter words, every bit is set in about half: 338 of 676, within six deviations of 13."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    found = words(of([a + b for a in letters for b in letters])).values
    for bit in range(64):
        assert 260 < int((found >> np.uint64(bit) & np.uint64(1)).sum()) < 416


def test_distinct_word_shares_are_exactly_those_of_the_text() -> None:
    chance = random.Random(1)
    texts = [*EDGES, "a b c d e f", "a b a b a b", "go " * 200, "我爱你" * 30]
    for size in (5, 6, 24, 25, 26, 74, 75, 76, 124, 125, 126, 500):
        for vocabulary in (1, 2, 5, 30):
            texts += [" ".join(chance.choices("abcdefghijklmnopqrstuvwxyzABCD"[:vocabulary], k=size))]
    expected = [distinct_word_share(text) for text in texts]
    assert distinct_word_shares(words(of(texts))).tolist() == expected
    assert min(expected) < 0.1 < 0.9 < max(share for share in expected if share < 1)


def test_blocks_keep_order_and_lose_nothing() -> None:
    texts = pl.Series(["ab", "", "x" * 50, "c", "d" * 9, "e", ""])
    found = list(blocks(texts, 10))
    assert [start for start, _ in found] == [0, 2, 3] or len(found) > 1
    assert [text for _, part in found for text in part] == texts.to_list()
    assert [start for start, _ in found] == np.cumsum([0, *(len(part) for _, part in found[:-1])]).tolist()
    assert list(blocks(pl.Series([], dtype=pl.String))) == []
