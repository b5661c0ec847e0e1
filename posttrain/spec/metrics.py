"""The metrics that a spec may name in its targets and gates, so that a misspelt one is refused before any work.

Knows names and the task kinds they are for; how they are measured is `posttrain.evaluation.metrics`, whose table
a test holds equal to this one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import WithJsonSchema

from posttrain.spec.document import Place
from posttrain.spec.paths import escaping_paths

METRICS: dict[str, tuple[str, ...]] = {
    "intent_accuracy": ("intent_slots",),
    "slot_f1": ("intent_slots",),
    "field_f1": ("extraction",),
    "field_precision": ("extraction",),
    "field_recall": ("extraction",),
    "grounded": ("extraction",),
    "exact_match": ("intent_slots", "extraction", "text"),
    "accuracy": ("classification",),
    "macro_f1": ("classification",),
    "token_f1": ("text",),
    "win_rate": ("chat",),
    "length_controlled_win_rate": ("chat",),
    "judge_position_agreement": ("chat",),
    "rouge_l": ("text", "chat"),
    "chrf": ("text",),
    "semantic_similarity": ("text", "chat"),
    "bertscore_f1": ("text", "chat"),
    "pass_rate": ("code",),
    "general_ability": ("general",),
    "final_answer": ("verifiable",),
    "valid_json": ("intent_slots", "extraction"),
    "schema_valid": ("extraction",),
    "wrapper_consistency": ("intent_slots", "extraction"),
    "style_consistency": ("extraction",),
    "stop_rate": ("intent_slots", "extraction", "classification", "text", "verifiable", "chat", "code"),
    "refusal_rate": ("safety",),
    "over_refusal_rate": ("safety",),
    "leakage_rate": ("safety",),
    "harm_rate": ("safety",),
    "consistency": ("consistency",),
    "wrapper_agreement": ("consistency",),
    "style_agreement": ("consistency",),
    "perplexity": (),
}
"""Metric → the task kinds that it is measured for. Whatever the task, perplexity is measured on general text, those
of "safety" on the probes of `evaluate.safety`, and that of "general" on the tasks of `evaluate.harness`."""

SAFETY = "safety"
OWN_SLICES = {SAFETY: "evaluate.safety", "consistency": "evaluate.consistency"}
"""Slices by which gates ask for metrics that no other rows have, and the setting that has them measured."""
BAD_CASES = "bad_cases"
"""The slice of corrected bad cases, by which gates of the release ask for them; see `bad_cases` of the spec."""
GENERAL = "general"
"""The kind of the metric of general ability."""
GENERAL_SLICE = "general_"
"""With a task's name behind it, the slice by which gates ask for general ability."""
JUDGED = ("win_rate", "length_controlled_win_rate", "judge_position_agreement")
"""Metrics that need a judge, the last one an endpoint."""


MetricName = Annotated[
    str,
    WithJsonSchema({"type": "string", "anyOf": [{"enum": list(METRICS)}, {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}]}),
]
"""A metric of the table above, or one that a file of `evaluate.metrics` declares: `mistaken_metrics` tells."""


def mistaken_metrics(data: Any, root: Path) -> Iterator[tuple[Place, str]]:
    """Every metric that a raw spec names and that is neither Posttrain's nor declared by a file of `evaluate.metrics`.

    The files are read, not run: a metric is a function under `@metric(…)`. So a name that is put together while the
    file runs cannot be found, and has to be written out.
    """
    own: set[str] = set()
    for place, path in _files(data, root):
        try:
            found = declared((root / path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            yield place, f"{path} cannot be read ({error}); name a Python file of the project"
        except SyntaxError as error:
            yield place, f"{path}:{error.lineno}: {error.msg}; mend the file"
        else:
            own |= found
            if not found:
                yield place, f"{path} declares no metric; put @metric(…) over a function in it"
            elif taken := sorted(found & METRICS.keys()):
                yield place, f"{path} declares {taken[0]}, which Posttrain measures itself; choose another name"
    for place, name in _named(data):
        if name not in METRICS and name not in own:
            known = [*METRICS, *sorted(own)]
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
            yield place, f"found metric {name!r}, which is not measured; {hint}"


def declared(text: str) -> set[str]:
    """The names of the metrics that a Python file declares, by its text alone. Raises: `SyntaxError`."""
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return {name for function in functions for node in function.decorator_list if (name := _declares(function, node))}


def _declares(function: ast.FunctionDef, decorator: ast.expr) -> str:
    if not isinstance(decorator, ast.Call):
        return ""
    called = decorator.func
    if (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) != "metric":
        return ""
    given = [
        each.value.value for each in decorator.keywords if each.arg == "name" and isinstance(each.value, ast.Constant)
    ]
    return str(given[0]) if given and given[0] else function.name


def _files(data: Any, root: Path) -> Iterator[tuple[Place, str]]:
    """The files of `evaluate.metrics` that lie in the project; others are refused elsewhere."""
    key = ("evaluate", "metrics")
    section = data.get("evaluate") if isinstance(data, dict) else None
    named = section.get("metrics") if isinstance(section, dict) else None
    outside = {place for place, _ in escaping_paths(data, root)}
    for index, path in enumerate([named] if isinstance(named, str) else named if isinstance(named, list) else []):
        place: Place = key if isinstance(named, str) else (*key, index)
        if isinstance(path, str) and path and place not in outside:
            yield place, path


def _named(data: Any) -> Iterator[tuple[Place, str]]:
    """Every metric that targets and gates of a raw spec name."""
    if not isinstance(data, dict):
        return
    strategy, gates = data.get("strategy"), data.get("gates")
    targets = strategy.get("targets") if isinstance(strategy, dict) else None
    if isinstance(targets, dict):
        yield from ((("strategy", "targets", name), name) for name in targets if isinstance(name, str))
    for stage, demands in gates.items() if isinstance(gates, dict) else ():
        for index, gate in enumerate(demands if isinstance(demands, list) else []):
            if isinstance(gate, dict) and isinstance(gate.get("metric"), str):
                yield ("gates", stage, index, "metric"), gate["metric"]
