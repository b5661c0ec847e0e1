"""Mode collapse: a few fixed openings whatever the question, ever the same words.

Pure. Now is compared with the start of the training and with the data's own completions: answers that all open
with one brace because the task wants JSON are no collapse. One sign alone warns, unless it is the openings and the
data says that they ought to differ; two signs act.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from posttrain.training.guards.finding import Finding, History
from posttrain.training.guards.windows import Change, series, since_first

if TYPE_CHECKING:
    from posttrain.spec.sections.guards import GuardsSpec


def find(history: History, spec: GuardsSpec, known: Mapping[str, float]) -> Finding | None:
    """The signs of collapse, if there are any; `known` is `text.measure` of the data's completions, or empty."""
    signs = dict(_signs(history, spec, known))
    if not signs:
        return None
    window = history[-spec.window :]
    told = "; ".join(f"{name} from {sign.before:.3g} to {sign.after:.3g}" for name, sign in signs.items())
    by_data = f" (the data's own completions: {_of_data(signs, known)})" if known else ""
    return Finding(
        guard="collapse",
        step=history[-1].step,
        since=window[0].step,
        acts=len(signs) > 1 or ("openings" in signs and bool(known)),
        away=True,
        diagnosis=f"completions become one another: {told}{by_data}; raise the KL coefficient or the temperature",
        numbers={name: sign.after for name, sign in signs.items()},
    )


def fresh(history: History) -> bool:
    """Whether the last observation has anything to say about this."""
    return "distinct_2" in history[-1].metrics


def _signs(history: History, spec: GuardsSpec, known: Mapping[str, float]) -> Iterator[tuple[str, Change]]:
    limits = spec.collapse
    if found := _change(history, spec, "openings"):
        usual = max(found.before, known.get("openings", 0.0))
        if found.low > 0 and found.after > usual + limits.opening_rise:
            yield "openings", found
    if found := _change(history, spec, "distinct_2"):
        usual = min(found.before, known.get("distinct_2", 1.0))
        if found.high < 0 and found.after < limits.distinct_left * usual:
            yield "distinct_2", found
    for name in ("entropy", "word_entropy"):
        if found := _change(history, spec, name):
            usual = min(found.before, known.get(name, found.before))
            if found.high < 0 and found.after < limits.entropy_left * usual:
                yield name, found


def _change(history: History, spec: GuardsSpec, name: str) -> Change | None:
    return since_first(series(history, name), spec.window)


def _of_data(signs: Mapping[str, Change], known: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {known[name]:.3g}" for name in signs if name in known) or "no such figure"
