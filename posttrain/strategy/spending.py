"""What a rung costs in minutes and money, and whether it may be spent. Knows not how costs are estimated."""

from __future__ import annotations

from posttrain.strategy.evidence import Evidence, Rung
from posttrain.wording import duration

KEYS: dict[Rung, str] = {"align_base": "{} on the base model", "sft": "SFT", "align": "SFT and {} together"}
"""With room for the name of alignment's method."""


def minutes(evidence: Evidence, rung: str) -> float | None:
    """Minutes of training and measuring; None for what trains nothing and what nobody estimated."""
    seconds = evidence.seconds.get(rung)  # type: ignore[call-overload]
    return None if seconds is None else round(seconds / 60, 2)


def money(evidence: Evidence, rung: str) -> float | None:
    """The same in the unit of `resources.price_per_hour`; None without one."""
    seconds, price = evidence.seconds.get(rung), evidence.limits.price_per_hour  # type: ignore[call-overload]
    return None if seconds is None or price is None else round(seconds / 3600 * price, 4)


def too_dear(evidence: Evidence, rung: Rung) -> str:
    """Which limit the rung breaks, in words; empty when it may be climbed."""
    spent, limits = evidence.seconds.get(rung), evidence.limits
    if spent is None:
        return ""
    price, who = money(evidence, rung), KEYS[rung].format(evidence.aligner)
    if limits.max_minutes is not None and spent > 60 * limits.max_minutes:
        allowed = duration(60 * limits.max_minutes)
        return f"{who} should take {duration(spent)}, strategy.max_minutes allows {allowed}"
    if limits.max_cost is not None and price is not None and price > limits.max_cost:
        return f"{who} should cost {price:.2f}, strategy.max_cost allows {limits.max_cost:.2f}"
    return ""


def in_words(evidence: Evidence, rung: Rung) -> str:
    """ "about 12 min 00 s, 0.40", or nothing when it was not estimated."""
    if rung not in evidence.seconds:
        return ""
    price = money(evidence, rung)
    return f"about {duration(evidence.seconds[rung])}" + ("" if price is None else f", {price:.2f}")
