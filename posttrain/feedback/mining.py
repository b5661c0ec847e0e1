"""Bad cases: which of the answers that were served should people look at, each only once, the heaviest first?

The chart: signals → one case for equal prompts → one case for prompts that mean the same → clusters → rank → the first
N, one of every cluster before a second of any. All of it is a function of what goes in: the same requests give the
same cases in the same order. Held-out rows that the gate saw a model lose weigh in on their cluster, so that what fails
in the test and in life comes first; they never become cases themselves, because what is trained on cannot be tested on.

Knows nothing of where requests come from or where cases go.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from posttrain.data.embedding.embed import Embedder
from posttrain.data.text.words import words
from posttrain.feedback.held_back import case_digest
from posttrain.feedback.signals import SIGNALS, Signal, Watch, asked, signals, told, weight
from posttrain.tracking.traces import ServedRequest

MOST = 4_000
"""Different prompts that are compared with one another, the heaviest: the table of their cosines then takes 64 MB."""
NAMED_BY = 3
"""Words that a cluster is called by."""
_FEWEST_LETTERS = 3


@dataclass(frozen=True)
class Loss:
    """A held-out row that a model answered wrongly, as the gate saw it."""

    prompt: str
    expected: str
    output: str
    split: str = "test"


@dataclass(frozen=True)
class BadCase:
    """A prompt whose answer a person should look at.

    `count` is how often it was asked, in these words or in words that mean the same; `request_ids` are those requests;
    `suggested` is what a user said the answer should have been, "" when nobody did.
    """

    prompt: str
    system: str
    output: str
    version: str
    signals: tuple[Signal, ...]
    count: int = 1
    request_ids: tuple[str, ...] = ()
    suggested: str = ""
    cluster: int = -1
    is_loss: bool = False

    @property
    def weight(self) -> float:
        """How often, times how bad. The logarithm, so that one popular prompt does not hide all others."""
        return (1 + math.log2(self.count)) * weight(self.signals)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits of what was asked: see `case_digest`."""
        return case_digest(self.system, self.prompt)


@dataclass(frozen=True)
class Cluster:
    """Cases that ask for like things: what they are called, how many, how often asked, and what speaks against them."""

    name: str
    cases: int
    requests: int
    losses: int
    weight: float
    signals: Mapping[Signal, int]
    example: str


@dataclass(frozen=True)
class Mined:
    """The cases to look at, in order; the clusters that they are of; and what was looked through.

    `left_out` are the cases beyond `limits.per_run`, in order, for the next time.
    """

    cases: tuple[BadCase, ...]
    clusters: tuple[Cluster, ...]
    requests: int = 0
    suspicious: int = 0
    left_out: tuple[BadCase, ...] = ()
    counts: Mapping[Signal, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """How many cases, and how like two of them may be (`bad_cases` of the spec)."""

    per_run: int = 50
    likeness: float = 0.95
    cluster: float = 0.5


def mine(
    requests: Sequence[ServedRequest],
    watch: Watch,
    limits: Limits,
    embedder: Embedder,
    losses: Sequence[Loss] = (),
    known: Sequence[tuple[str, str]] = (),
    fresh: Collection[str] | None = None,
) -> Mined:
    """The bad cases among served requests, heaviest first, at most `limits.per_run`.

    Only the `fresh` ones (ids; None: all) become cases; the others are there to tell which answers are unsure. `known`
    are (system, prompt) of what people have been asked about before: what means the same is not asked again.
    Raises: `ModelError` for an embedder that cannot be loaded.
    """
    ordered = sorted((request for request in requests if is_single(request)), key=lambda request: request.id)
    found = [
        pair for pair in zip(ordered, signals(ordered, watch), strict=True) if fresh is None or pair[0].id in fresh
    ]
    suspicious = [(request, why) for request, why in found if why and asked(request).strip()]
    counts = _in_order(Counter(name for _, why in suspicious for name in why))
    cases = _unknown(_same_words(suspicious), known, embedder, limits.likeness)
    summary = Mined((), (), len(found), len(suspicious), counts=counts)
    if not cases:
        return summary
    cases = cases[:MOST]
    lost = _lost(losses)[: MOST - len(cases)]
    similar = _similarity([case.prompt for case in (*cases, *lost)], embedder)
    merged, kept = _same_meaning(cases, similar, limits.likeness)
    chosen = [*kept, *range(len(cases), len(similar))]
    clusters, order = _ranked(_clustered([*merged, *lost], similar[np.ix_(chosen, chosen)], limits.cluster))
    return replace(
        summary, cases=tuple(order[: limits.per_run]), clusters=tuple(clusters), left_out=tuple(order[limits.per_run :])
    )


def _in_order(counts: Mapping[Signal, int]) -> dict[Signal, int]:
    return {name: counts[name] for name in SIGNALS if counts.get(name)}


def is_single(request: ServedRequest) -> bool:
    """Whether the user said one thing only: what a later turn means, its words alone do not tell."""
    return sum(turn.get("role") == "user" for turn in request.messages) == 1


# --- one case for what was asked several times ------------------------------------------------------------------


def _same_words(found: Iterable[tuple[ServedRequest, tuple[Signal, ...]]]) -> list[BadCase]:
    """One case for requests that differ in case, spacing and punctuation only; heaviest first."""
    cases: dict[str, BadCase] = {}
    for request, why in found:
        case = BadCase(
            prompt=asked(request),
            system=told(request),
            output=request.output,
            version=request.version,
            signals=why,
            request_ids=(request.id,),
            suggested=request.correction or "",
        )
        held = cases.get(case.digest)
        cases[case.digest] = case if held is None else _joined(held, case)
    return sorted(cases.values(), key=_heaviest)


def _joined(one: BadCase, other: BadCase) -> BadCase:
    """`one`, asked as often as both; the answer is that of the heavier."""
    heavier = other if weight(other.signals) > weight(one.signals) else one
    both = {*one.signals, *other.signals}
    return replace(
        one,
        output=heavier.output,
        version=heavier.version,
        signals=tuple(name for name in SIGNALS if name in both),
        count=one.count + other.count,
        request_ids=(*one.request_ids, *other.request_ids),
        suggested=one.suggested or other.suggested,
    )


def _unknown(
    cases: Sequence[BadCase], known: Sequence[tuple[str, str]], embedder: Embedder, likeness: float
) -> list[BadCase]:
    """Those that people have not been asked about, in these words or in words that mean the same."""
    digests = {case_digest(*each) for each in known}
    left = [case for case in cases if case.digest not in digests]
    texts = [prompt for _, prompt in known][-MOST:]
    if not left or not texts:
        return left
    asked_of, mine = embedder(texts).astype(np.float32), embedder([case.prompt for case in left]).astype(np.float32)
    similar = mine @ asked_of.T
    similar[embedder.lexical([case.prompt for case in left])[:, None] != embedder.lexical(texts)[None, :]] = 0.0
    numbers = [_numbers(text) for text in texts]
    return [
        case
        for case, like in zip(left, similar, strict=True)
        if not any(numbers[place] == _numbers(case.prompt) for place in np.flatnonzero(like >= likeness))
    ]


def _numbers(text: str) -> tuple[str, ...]:
    """Embedders hardly see them, and "for 2" is another request than "for 12"."""
    return tuple(word for word in words(text) if word.isdecimal())


def _heaviest(case: BadCase) -> tuple[float, str]:
    return -case.weight, case.digest


def _lost(losses: Sequence[Loss]) -> list[BadCase]:
    """The gate's losses, each once, in the order of their digests."""
    cases = {
        case.digest: case
        for case in (
            BadCase(each.prompt, "", each.output, "", ("gate_loss",), is_loss=True, suggested=each.expected)
            for each in losses
        )
    }
    return [cases[name] for name in sorted(cases)]


def _similarity(texts: Sequence[str], embedder: Embedder) -> np.ndarray:
    """Cosines of all pairs (n, n); zero between texts that were read in different ways."""
    vectors = embedder(texts).astype(np.float32)
    lexical = embedder.lexical(texts)
    similar: np.ndarray = np.clip(vectors @ vectors.T, 0.0, 1.0)
    similar[lexical[:, None] != lexical[None, :]] = 0.0
    np.fill_diagonal(similar, 1.0)
    return similar


def _same_meaning(cases: Sequence[BadCase], similar: np.ndarray, likeness: float) -> tuple[list[BadCase], list[int]]:
    """The cases without those that mean the same as a heavier one, which counts them; and their places."""
    numbers = [_numbers(case.prompt) for case in cases]
    kept: list[int] = []
    found: list[BadCase] = list(cases)
    for place, case in enumerate(cases):
        twin = next(
            (
                other
                for other in kept
                if similar[other, place] >= likeness
                and numbers[other] == numbers[place]
                and cases[other].system == case.system
            ),
            None,
        )
        if twin is None:
            kept.append(place)
        else:
            found[twin] = _joined(found[twin], case)
    return [found[place] for place in kept], kept


# --- clusters -----------------------------------------------------------------------------------------------------


def _clustered(cases: Sequence[BadCase], similar: np.ndarray, likeness: float) -> list[BadCase]:
    """The cases with the number of their cluster: average linkage, cut where the mean cosine falls below `likeness`."""
    if len(cases) == 1:
        return [replace(cases[0], cluster=0)]
    from sklearn.cluster import AgglomerativeClustering

    grouping = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=1.0 - likeness
    )
    numbers = grouping.fit_predict(1.0 - similar.astype(np.float64))
    return [replace(case, cluster=int(number)) for case, number in zip(cases, numbers, strict=True)]


def _ranked(cases: Sequence[BadCase]) -> tuple[list[Cluster], list[BadCase]]:
    """Clusters that hold a served case, heaviest first; and their cases, the first of each, then the second of each."""
    members: dict[int, list[BadCase]] = defaultdict(list)
    for case in cases:
        members[case.cluster].append(case)
    served = {number: [case for case in held if not case.is_loss] for number, held in members.items()}
    weights = {number: sum(case.weight for case in held) for number, held in members.items() if served[number]}
    first = {number: min(case.digest for case in served[number]) for number in weights}
    order = sorted(weights, key=lambda number: (-weights[number], first[number]))
    names = _names({number: [case.prompt for case in served[number]] for number in order})
    clusters, columns = [], []
    for place, number in enumerate(order):
        held = sorted(served[number], key=_heaviest)
        columns.append([replace(case, cluster=place) for case in held])
        counts = Counter(name for case in members[number] for name in case.signals)
        clusters.append(
            Cluster(
                name=names[number],
                cases=len(held),
                requests=sum(case.count for case in held),
                losses=len(members[number]) - len(held),
                weight=round(weights[number], 2),
                signals=_in_order(counts),
                example=held[0].prompt,
            )
        )
    deepest = max((len(column) for column in columns), default=0)
    return clusters, [column[depth] for depth in range(deepest) for column in columns if depth < len(column)]


def _names(prompts: Mapping[int, Sequence[str]]) -> dict[int, str]:
    """Each cluster by its words that are frequent in it and rare in the others (TF-IDF over clusters)."""
    counted = {number: Counter(_telling(texts)) for number, texts in prompts.items()}
    spread = Counter(word for counts in counted.values() for word in counts)
    named = {}
    for number, counts in counted.items():
        worth: dict[str, Any] = {
            word: count * math.log(1 + len(counted) / spread[word]) for word, count in counts.items()
        }
        best = sorted(worth, key=lambda word: (-worth[word], word))[:NAMED_BY]
        named[number] = " · ".join(best) or "…"
    return named


def _telling(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        yield from {word for word in words(text) if len(word) >= _FEWEST_LETTERS or not word.isascii()}
