"""Chance that depends on what a row says or is called, and on nothing else: not on order, batches or workers."""

from __future__ import annotations

import hashlib
import random


def share(*parts: object) -> float:
    """A number from 0 up to but not 1, the same for the same parts and evenly spread over different ones."""
    return int.from_bytes(_digest(parts)[:7], "big") / 2**56


def dice(*parts: object) -> random.Random:
    """Random numbers of these parts' own."""
    return random.Random(_digest(parts))


def _digest(parts: tuple[object, ...]) -> bytes:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
