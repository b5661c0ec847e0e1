"""Curation step: how many rows of each part make up the training set, and which.

Plain numbers in, positions out: what a part's rows say is no concern here (`parts.py` tells rows apart), and putting
rows into random order is `arrange.py`'s.

Shares follow T5's mixing with a temperature (Raffel et al. 2020, arXiv:1910.10683, section 3.5.2), with weights:
`share ∝ weight · min(rows, max_rows)^(1/temperature)`; without a temperature, by weight alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from posttrain.spec.sections.mixture import MixtureSpec, PartSpec

DOMAIN = "domain"
GENERAL = "general"

CHAT_GENERAL = 7 / 8
"""S2: general to domain 7 : 1, for chat."""
LABELS_GENERAL = 0.03
"""A narrow task bound to a format needs a little against forgetting (this project)."""


@dataclass(frozen=True)
class Mixture:
    """Positions of the chosen rows within each part, ascending; a row that is repeated comes that often."""

    rows: Mapping[str, np.ndarray]
    available: Mapping[str, int]
    shares: Mapping[str, float]
    """The share that each part was to have; a part that ran out has less."""

    @property
    def total(self) -> int:
        """Rows of the mix."""
        return sum(map(len, self.rows.values()))

    def text(self) -> str:
        """In words: each part's rows, its share and what limited it; parts without a weight too."""
        return ", ".join(self._part(name) for name in (*self.rows, *sorted(self.available.keys() - self.rows.keys())))

    def _part(self, name: str) -> str:
        if name not in self.rows:
            return f"{name} 0 of {self.available[name]:,} (no weight)"
        taken, available = len(self.rows[name]), self.available[name]
        share = taken / max(self.total, 1)
        words = f"{name} {taken:,} of {available:,} ({share:.1%}"
        if share < self.shares[name] - 0.005:
            words += f", {self.shares[name]:.1%} wanted"
        if taken > available:
            words += f", {taken / available:.1f} passes"
        return words + ")"


def mix(
    available: Mapping[str, int],
    parts: Mapping[str, PartSpec],
    seed: int,
    total: int | None = None,
    temperature: float | None = None,
) -> Mixture:
    """Choose rows of every part that has some and is named in `parts`.

    Args: `available` is the number of rows by part, `total` the most rows of the mix (see `quotas`). Rows are drawn
    without replacement until a part is exhausted, then again from all of it. A larger quota keeps the rows that a
    smaller one chose.
    """
    present = {name: part for name, part in parts.items() if available.get(name, 0) and part.weight}
    wanted = shares(available, present, temperature)
    taken = quotas(available, present, wanted, total)
    rows = {name: draw(available[name], count, seed, name) for name, count in taken.items()}
    return Mixture(rows, {name: count for name, count in available.items() if count}, wanted)


def parts_of(mixture: MixtureSpec, kind: str, general_share: float | None) -> dict[str, PartSpec]:
    """The parts as the spec names them, or domain and general at `general_share`.

    Without either, prose (`kind` text or chat) gets S2's 7 : 1, labels (intent_slots, extraction) a share of 0.03.
    """
    if mixture.parts:
        return dict(mixture.parts)
    share = general_share
    if share is None:
        share = CHAT_GENERAL if kind in ("text", "chat") else LABELS_GENERAL
    return {DOMAIN: PartSpec(weight=1 - share), GENERAL: PartSpec(weight=share)}


def shares(
    available: Mapping[str, int], parts: Mapping[str, PartSpec], temperature: float | None = None
) -> dict[str, float]:
    """The share of each part, 0 to 1, together 1."""
    power = 0.0 if temperature is None else 1 / temperature
    raw = {name: part.weight * _once(part, available[name]) ** power for name, part in parts.items()}
    whole = sum(raw.values())
    return {name: value / whole for name, value in raw.items()}


def quotas(
    available: Mapping[str, int],
    parts: Mapping[str, PartSpec],
    wanted: Mapping[str, float],
    total: int | None = None,
) -> dict[str, int]:
    """Rows of each part.

    Domain rows are what the training is about: every one is taken once, and the other parts get as many rows as their
    shares then ask for, as far as they and their `epochs` reach. With a `total` below that, every part is cut in
    proportion, and what a short part cannot give is given by the others, in proportion too. A `total` above it lets
    domain rows be repeated, as often as their own `epochs` allow. Without domain rows, all parts fill `total`, or
    give all their rows once.
    """
    if not parts:
        return {}
    most = {name: int(part.epochs * _once(part, available[name])) for name, part in parts.items()}
    once = {name: _once(part, available[name]) for name, part in parts.items()}
    if DOMAIN not in parts:
        return dict(once) if total is None else _filled(total, wanted, most)
    if total is None:
        scale = once[DOMAIN] / wanted[DOMAIN]
        return {name: min(most[name], round(wanted[name] * scale)) for name in parts}
    natural = {name: min(most[name], round(wanted[name] * most[DOMAIN] / wanted[DOMAIN])) for name in parts}
    return natural if total >= sum(natural.values()) else _filled(total, wanted, natural)


def _once(part: PartSpec, rows: int) -> int:
    return rows if part.max_rows is None else min(rows, part.max_rows)


def _filled(total: int, wanted: Mapping[str, float], most: Mapping[str, int]) -> dict[str, int]:
    """`total` in proportion to the shares; parts that cannot give theirs give all, and the others the rest."""
    quota: dict[str, int] = {}
    left, open_parts = total, dict(wanted)
    while open_parts:
        scale = left / sum(open_parts.values())
        short = [name for name, share in open_parts.items() if share * scale >= most[name]]
        if not short:
            return {**quota, **_rounded(left, open_parts)}
        for name in short:
            quota[name] = most[name]
            left -= most[name]
            del open_parts[name]
    return quota


def _rounded(total: int, wanted: Mapping[str, float]) -> dict[str, int]:
    whole = sum(wanted.values())
    exact = {name: total * share / whole for name, share in wanted.items()}
    quota = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda name: (quota[name] - exact[name], name))[: total - sum(quota.values())]:
        quota[name] += 1
    return quota


def draw(rows: int, count: int, seed: int, part: str = "") -> np.ndarray:
    """`count` positions out of `rows`, ascending: whole passes first, the rest without replacement."""
    if not rows or not count:
        return np.zeros(0, np.int64)
    passes, rest = divmod(count, rows)
    generator = np.random.default_rng([seed, zlib.crc32(part.encode())])
    chosen = np.concatenate([np.tile(np.arange(rows), passes), generator.permutation(rows)[:rest]])
    return np.sort(chosen).astype(np.int64)
