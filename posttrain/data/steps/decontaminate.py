"""Curation step: drop training rows that give away rows on which the model is measured.

A row gives one away when its prompt has the same words, or when it shares a run of words with the prompt or an answer
of a held-out row. Template text, which many otherwise unlike rows have, is no evidence. Knows nothing of splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from posttrain.data import findings
from posttrain.data.rows import shorten
from posttrain.data.steps.duplicates.compared import ANSWERS, digest_of_words
from posttrain.data.table import Table
from posttrain.data.text.prose import is_json
from posttrain.data.text.word_runs import WIDE, Lookup, runs
from posttrain.data.text.words import key
from posttrain.data.text.words import words as words_of

SAMPLE = 20_000
"""Training rows, evenly spaced, in which the runs of held-out rows are counted to learn what template text is."""
COMMON = 0.001
"""A run of words is template text when more than this share of the sampled rows have it ... Of 52,777 rows of public
prompt collections, 62 % share eight words with one of 700 others of them; 25 % do when template text does not count,
nearly all of them a passage or a question."""
COMMON_ROWS = 10
"""... and more than so many that are otherwise unlike each other: thirty copies of a test question are no template."""


@dataclass(frozen=True, eq=False)
class Needles:
    """What is looked for. `texts` are held-out prompts and answers, reduced to their words; `ids` those of their rows.

    `prompts` are the hashes of prompts, ascending, and `prompt_of` the numbers of their texts. `runs` are the hashes of
    runs of words, ascending, each with its text, its place there in words, and whether it is template text.
    """

    texts: pl.Series
    ids: pl.Series
    prompts: np.ndarray
    prompt_of: np.ndarray
    runs: np.ndarray
    run_of: np.ndarray
    places: np.ndarray
    common: np.ndarray


@dataclass(frozen=True, eq=False)
class Decontaminate:
    """Drops rows with a held-out row's prompt, or with `ngram` consecutive words of its prompt or of an answer.

    With `ngram` 0 only whole prompts are compared. `twin` is the held-out row. JSON answers are labels, alike in many
    rows: they are not looked at. Pickled, it has about 20 bytes for each held-out word.
    """

    needles: Needles
    ngram: int = 8
    name: str = "contaminated"

    @property
    def reason(self) -> str:
        """What it drops, in words."""
        run = f", or {self.ngram} consecutive words of one ({WIDE * self.ngram} in Chinese)" if self.ngram else ""
        return f"same prompt as a held-out row{run}"

    @classmethod
    def against(cls, held_out: Sequence[Table], rows: Sequence[Table] = (), ngram: int = 8) -> Decontaminate:
        """The step for these rows, of which it samples `SAMPLE` to learn template text; `held_out` is read whole."""
        every = [batch for table in held_out for batch in table.batches(_columns(table))]
        step = max(1, -(-sum(table.rows for table in rows) // SAMPLE))
        sample = [batch for table in rows for batch in _every(step, table).batches(_columns(table))]
        needles = _needles(every, ngram)
        if ngram:
            needles = replace(needles, common=_common(every, needles, ngram) | _common(sample, needles, ngram))
        return cls(needles, ngram)

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Findings about a batch of rows, in their order."""
        same = self._same_prompts(rows)
        if not self.ngram:
            return same
        shared = self._shared_runs(rows).filter(~pl.col("row").is_in(same["row"].implode()))
        return pl.concat([same, shared]).sort("row")

    def _same_prompts(self, rows: pl.DataFrame) -> pl.DataFrame:
        needles = self.needles
        at, place = Lookup(needles.prompts).find(digest_of_words(rows["prompt"])[:, 0])
        held_out = needles.prompt_of[place]
        mine, theirs = rows["prompt"].gather(at), needles.texts.gather(held_out)
        sure = np.array([key(one) == other for one, other in zip(mine, theirs, strict=True)], bool)
        twins = needles.ids.gather(held_out[sure])
        return findings.findings(pl.Series(at[sure]), "same prompt as a held-out row", "none", twins)

    def _shared_runs(self, rows: pl.DataFrame) -> pl.DataFrame:
        texts, needles = _texts(rows), self.needles
        found = []
        for span in _spans(texts, needles, self.ngram).iter_rows(named=True):
            mine = words_of(texts["text"][span["text"]])[span["place"] : span["place"] + span["words"]]
            theirs = needles.texts[span["held_out"]].split(" ")[span["held_out_place"] :]
            if mine[: span["run"]] == theirs[: span["run"]]:
                unit, between = ("words", " ") if span["run"] == self.ngram else ("characters", "")
                told = f"shares {span['words']} {unit}: {shorten(between.join(mine))}"
                found.append((span["row"], told, f"fewer than {span['run']} {unit}", needles.ids[span["held_out"]]))
        return findings.findings(*zip(*found, strict=True)) if found else findings.none()


def _columns(table: Table) -> list[str]:
    return [name for name in ("id", "prompt", *ANSWERS) if name in table.columns]


def _every(step: int, table: Table) -> Table:
    return table if step == 1 else table.only(table.positions[::step])


def _texts(rows: pl.DataFrame) -> pl.DataFrame:
    """What is compared (`text`), and the row (its number here) of each: all prompts, then answers that are no JSON."""
    numbers = pl.int_range(rows.height, dtype=pl.Int64, eager=True)
    parts = [pl.DataFrame({"row": numbers, "text": rows["prompt"]})]
    for name in ANSWERS:
        if name in rows.columns:
            prose = ~is_json(rows[name])
            parts.append(pl.DataFrame({"row": numbers.filter(prose), "text": rows[name].filter(prose)}))
    return pl.concat(parts)


def _needles(batches: Sequence[pl.DataFrame], ngram: int) -> Needles:
    """What these held-out rows hold; of what several hold, the first one's."""
    rows = pl.concat([pl.DataFrame(schema={"id": pl.String, "prompt": pl.String}), *batches], how="diagonal")
    texts = _texts(rows.fill_null(""))
    reduced = pl.Series([key(text) for text in texts["text"]], dtype=pl.String)
    worded = np.flatnonzero((reduced.head(rows.height) != "").to_numpy())
    prompts, first = np.unique(digest_of_words(rows["prompt"])[worded, 0], return_index=True)
    made = list(runs(texts["text"], ngram)) if ngram else []
    hashes, place = np.unique(_joined([some.hashes for some in made], np.uint64), return_index=True)
    return Needles(
        texts=reduced,
        ids=rows["id"].gather(texts["row"]),
        prompts=prompts,
        prompt_of=worded[first],
        runs=hashes,
        run_of=_joined([some.texts for some in made], np.int64)[place],
        places=_joined([some.places for some in made], np.int64)[place],
        common=np.zeros(len(hashes), bool),
    )


def _joined(parts: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, kind), *parts])


def _common(batches: Sequence[pl.DataFrame], needles: Needles, ngram: int) -> np.ndarray:
    """Whether each run of the needles is template text in these rows.

    Texts whose least hash of a run is the same are likely versions of one text, and count once.
    """
    lookup, pairs = Lookup(needles.runs), [np.zeros(0, np.uint64)]
    half = np.uint64(32)
    for batch in batches:
        texts = _texts(batch)["text"]
        for some in runs(texts, ngram):
            least = np.full(len(texts), np.iinfo(np.uint64).max)
            np.minimum.at(least, some.texts, some.hashes)
            at, needle = lookup.find(some.hashes)
            pairs.append(np.unique(needle.astype(np.uint64) << half | least[some.texts[at]] >> half))
    counts = np.bincount((np.unique(np.concatenate(pairs)) >> half).astype(np.int64), minlength=len(needles.runs))
    return np.asarray(counts > max(COMMON_ROWS, COMMON * sum(batch.height for batch in batches)))


_NO_HITS = pl.DataFrame(schema=dict.fromkeys(("text", "place", "run", "held_out", "held_out_place"), pl.Int64))


def _spans(texts: pl.DataFrame, needles: Needles, ngram: int) -> pl.DataFrame:
    """Of each row that shares a run, the longest stretch of shared runs; the first of several as long.

    Columns: row, text, place and words there, the length of a run, and the held-out text and place of the first run.
    """
    lookup, found = Lookup(needles.runs), []
    for some in runs(texts["text"], ngram):
        at, needle = lookup.find(some.hashes)
        shared = some.where(at)
        evidence = shared.uncovered(needles.common[needle])
        shared, needle = shared.where(evidence), needle[evidence]
        found.append(
            pl.DataFrame(
                {
                    "text": shared.texts,
                    "place": shared.places,
                    "run": shared.lengths,
                    "held_out": needles.run_of[needle],
                    "held_out_place": needles.places[needle],
                }
            )
        )
    hits = pl.concat([_NO_HITS, *found]).sort("text", "run", "place")
    goes_on = (pl.col("place") == pl.col("place").shift() + 1) & (
        pl.struct("text", "run") == pl.struct("text", "run").shift()
    )
    stretch = (~goes_on.fill_null(False)).cum_sum()
    spans = hits.group_by(stretch.alias("stretch"), maintain_order=True).agg(
        pl.all().first(), words=pl.col("place").last() - pl.col("place").first() + pl.col("run").first()
    )
    rows = texts["row"].gather(spans["text"])
    return (
        spans.with_columns(row=rows)
        .sort("row", "words", "text", "place", descending=[False, True, False, False])
        .unique("row", keep="first", maintain_order=True)
    )
