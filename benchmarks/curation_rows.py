"""Rows whose duplicates, junk and leaks are known: real sentences, put together anew, and edited copies of some rows.

Sentences of the corpus are taken once each, however often they stand there, and every row draws three to eight: two
rows share a sentence now and then, but none is a near-duplicate of another by nature. What is planted:

| kind | share | what |
| --- | --- | --- |
| exact | 5 % | a copy in another case, spacing or punctuation |
| near | 10 % | a copy with one of `EDITS`, light or heavy; how like it truly is, is counted here, set by set |
| junk | 1.5 % | too short, too long, a loop, bytes that did not decode |
| leak | 1 % | the prompt of a held-out row, or a run of ten of its words |

Knows nothing of who is measured.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

KINDS = ("base", "exact", "near", "junk", "leak")
SHARES = (0.825, 0.05, 0.10, 0.015, 0.01)
HELD_OUT = 500
_SENTENCE = re.compile(r"[A-Z][^.!?\n]{25,220}[.!?](?=\s|$)")
_WORDS = re.compile(r"[^\W_]+")

Sentences = list[str]


@dataclass(frozen=True)
class Row:
    """A row, its kind, what was done to make it; of copies, which row they copy and how like it they truly are.

    `similarity` is that of the whole rows or that of their answers, whichever is less.
    """

    prompt: str
    completion: str
    kind: str
    made_by: str = ""
    similarity: float = 0.0
    copies: int = -1

    @property
    def text(self) -> str:
        """What those who know one column only are given."""
        return f"{self.prompt}\n{self.completion}"


def sentences(corpus: Path) -> Sentences:
    """All distinct English sentences of the .jsonl(.gz) and .txt(.gz) files below a folder, in the order of files."""
    found: dict[str, str] = {}
    for path in sorted(corpus.rglob("*")):
        for text in _texts(path):
            for sentence in _SENTENCE.findall(text):
                words = _WORDS.findall(sentence.lower())
                if len(words) >= 6 and sentence.isascii():
                    found.setdefault(" ".join(words), sentence)
    if len(found) < 1000:
        raise SystemExit(f"{corpus}: {len(found)} sentences, expected at least 1,000; name another folder by --corpus")
    return list(found.values())


def _texts(path: Path) -> Iterator[str]:
    if not path.name.endswith((".jsonl", ".jsonl.gz", ".txt", ".txt.gz")):
        return
    opening: Callable[..., Iterator[str]] = gzip.open if path.suffix == ".gz" else open
    for line in opening(path, "rt", encoding="utf-8", errors="replace"):
        if ".jsonl" in path.name:
            yield from (value for value in json.loads(line).values() if isinstance(value, str))
        else:
            yield line


class Maker:
    """Makes `count` rows from sentences; the same seed gives the same rows. Iterate for the rows, in their order."""

    def __init__(self, pool: Sentences, count: int, seed: int = 0) -> None:
        self._seed = seed
        numbers = np.random.default_rng(seed)
        shuffled = [pool[place] for place in numbers.permutation(len(pool)).tolist()]
        self._held_out, self._pool = _apart(shuffled, min(len(pool) // 10, 2 * HELD_OUT))
        sizes = [round(share * count) for share in SHARES[1:]]
        base = count - sum(sizes)
        self._kinds = np.repeat(np.arange(len(KINDS)), [base, *sizes])
        copies = sizes[0] + sizes[1]
        self._copied = np.full(count, -1)
        self._copied[base : base + copies] = numbers.choice(base, copies, replace=False)
        places = numbers.random(count)
        copied = self._copied[base : base + copies]  # a copy stands after what it copies
        places[base : base + copies] = places[copied] + (1 - places[copied]) * places[base : base + copies]
        self._order = np.argsort(places, kind="stable")
        self._place = np.argsort(self._order)

    def __iter__(self) -> Iterator[Row]:
        makers = {"base": self._base, "exact": self._exact, "near": self._near, "junk": self._junk, "leak": self._leak}
        for number in self._order.tolist():
            kind = KINDS[self._kinds[number]]
            row = makers[kind](number, random.Random(f"{self._seed} {number}"))
            copied = int(self._copied[number])
            yield row if copied < 0 else replace(row, copies=int(self._place[copied]))

    def held_out(self) -> list[tuple[str, str]]:
        """Prompts and completions of the held-out rows; no sentence of theirs is in another row but leaks."""
        half = len(self._held_out) // 2
        return list(zip(self._held_out[:half], self._held_out[half : 2 * half], strict=True))

    def _drawn(self, number: int) -> Sentences:
        chance = random.Random(f"{self._seed} base {number}")
        return chance.sample(self._pool, chance.randrange(3, 9))

    def _base(self, number: int, chance: random.Random) -> Row:
        return _row(self._drawn(number), "base")

    def _exact(self, number: int, chance: random.Random) -> Row:
        name, change = chance.choice(list(SPELLINGS.items()))
        return _row([change(part) for part in self._drawn(int(self._copied[number]))], "exact", name, 1.0)

    def _near(self, number: int, chance: random.Random) -> Row:
        before = self._drawn(int(self._copied[number]))
        name, edit = chance.choice(list(EDITS.items()))
        strength = chance.choice((0.01, 0.02, 0.04, 0.08))
        after = edit(before, strength, chance, self._pool)
        old, new = _row(before, "base"), _row(after, "near", name)
        return replace(new, similarity=min(jaccard(old.text, new.text), jaccard(old.completion, new.completion)))

    def _junk(self, number: int, chance: random.Random) -> Row:
        some = self._drawn(number)
        name, spoiled = chance.choice(
            [
                ("short", "ok"),
                ("long", " ".join(chance.sample(self._pool, 40))),
                ("loop", " ".join(some[1].split()[:5] * 20)),
                ("undecoded", some[1][:20] + "\ufffd" + some[1][21:] + some[2]),
            ]
        )
        return Row(some[0], spoiled, "junk", name)

    def _leak(self, number: int, chance: random.Random) -> Row:
        some = self._drawn(number)
        stolen = chance.choice(self._held_out[: len(self._held_out) // 2])
        words = _WORDS.findall(stolen)
        if chance.random() < 0.5 or len(words) < 12:
            return _row([stolen, *some[1:]], "leak", "prompt")
        start = chance.randrange(len(words) - 10)
        run = " ".join(words[start : start + 10])
        at = chance.randrange(len(some))
        words = some[at].split()
        words[len(words) // 2 : len(words) // 2] = [run]
        some[at] = " ".join(words)
        return _row(some, "leak", "run")


def _apart(pool: Sentences, count: int) -> tuple[Sentences, Sentences]:
    """About `count` sentences with no eight words in a row that any other sentence has, and the other sentences."""
    runs = [_runs(sentence) for sentence in pool]
    often = Counter(run for some in runs for run in some)
    alone = [place for place, some in enumerate(runs) if some and max(often[run] for run in some) == 1][:count]
    chosen = set(alone)
    return [pool[place] for place in alone], [text for place, text in enumerate(pool) if place not in chosen]


def _runs(sentence: str) -> set[tuple[str, ...]]:
    words = _WORDS.findall(sentence.lower())
    return {tuple(words[at : at + 8]) for at in range(len(words) - 7)}


def _row(parts: Sentences, kind: str, made_by: str = "", similarity: float = 0.0) -> Row:
    """A row whose prompt is the first sentence; an edit may add to its answer and reorder it."""
    return Row(parts[0], " ".join(parts[1:]), kind, made_by, similarity)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "lower case": str.lower,
    "spacing": lambda text: text.replace(" ", "  "),
    "punctuation": lambda text: re.sub(r"[.,;:!?]", " ", text),
}


def _typos(parts: Sentences, strength: float, chance: random.Random, pool: Sentences) -> Sentences:
    def spoil(word: str) -> str:
        at = chance.randrange(len(word))
        return word[:at] + chance.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :]

    return [" ".join(spoil(word) if chance.random() < strength else word for word in part.split()) for part in parts]


def _other_words(parts: Sentences, strength: float, chance: random.Random, pool: Sentences) -> Sentences:
    def other(word: str) -> str:
        return chance.choice(chance.choice(pool).split()) if chance.random() < strength else word

    return [" ".join(map(other, part.split())) for part in parts]


def _more_words(parts: Sentences, strength: float, chance: random.Random, pool: Sentences) -> Sentences:
    def more(word: str) -> str:
        return f"{word} {chance.choice(chance.choice(pool).split())}" if chance.random() < strength else word

    return [" ".join(map(more, part.split())) for part in parts]


def _fewer_words(parts: Sentences, strength: float, chance: random.Random, pool: Sentences) -> Sentences:
    return [" ".join(word for word in part.split() if chance.random() >= strength) for part in parts]


def _longer(parts: Sentences, strength: float, chance: random.Random, pool: Sentences) -> Sentences:
    words = " ".join(parts).split()
    return [*parts, " ".join(chance.choice(pool).split()[: max(1, round(2 * strength * len(words)))])]


def _reordered(parts: Sentences, strength: float, chance: random.Random, pool: Sentences) -> Sentences:
    return [parts[0], *chance.sample(parts[1:], len(parts) - 1)]


EDITS: dict[str, Callable[[Sentences, float, random.Random, Sentences], Sentences]] = {
    "typos": _typos,
    "other words": _other_words,
    "words inserted": _more_words,
    "words left out": _fewer_words,
    "text appended": _longer,
    "sentences reordered": _reordered,
}
"""Each takes the row's sentences and the share of words to touch: 1, 2, 4 or 8 %."""


def jaccard(one: str, other: str) -> float:
    """Of the sets of runs of four characters of both texts reduced to their words: common by all."""
    first, second = (_shingles(" " + " ".join(_WORDS.findall(text.lower())) + " ") for text in (one, other))
    return len(first & second) / len(first | second)


def _shingles(text: str) -> set[str]:
    return {text[at : at + 4] for at in range(len(text) - 3)}
