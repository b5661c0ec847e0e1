"""Suites: which expectations a kind of row must meet, as JSON that users edit.

    {"type": "expect_column_values_to_not_match_regex",
     "kwargs": {"column": "prompt", "regex": "^TODO"},
     "meta": {"rule": "todo", "severity": "quarantine", "max_share": 0.02},
     "description": "No note to oneself."}

`meta.rule` names the rule under which a row is set aside, `meta.severity` says what becomes of it (quarantine, warn or
stop), `meta.max_share` which share of rows may break it before the run stops. A spec outvotes both, by rule.
Knows nothing of rows, nor of Great Expectations.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from expectations import FOLDER
from posttrain.data.rules.expectation import Expectation, Severity
from posttrain.errors import DataError

SEVERITIES = get_args(Severity)
_GX_SEVERITY: Mapping[str, Severity] = {"critical": "quarantine", "warning": "warn", "info": "warn"}
_META = ("rule", "severity", "max_share")


def suite_path(name: str, root: Path) -> Path:
    """The file of a suite: a name in this folder, or a path from `root`. Raises `DataError` when there is none."""
    path = root / name if name.endswith(".json") else FOLDER / f"{name}.json"
    if path.is_file():
        return path
    known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.json")))
    raise DataError(
        f"validate.suite: found {name!r}, which is no file; use one of {known}, or the path of a .json file"
    )


def read_suite(path: Path) -> dict[str, Any]:
    """A suite's JSON, with a name. Raises `DataError` when it is none, naming the line."""
    try:
        suite = json.loads(path.read_text(encoding="utf-8"))
        for item in suite["expectations"]:
            item["type"], dict(item.get("kwargs", {})), dict(item.get("meta") or {})
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: invalid JSON ({error.msg}); mend the suite") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'{path}: expected {{"name": …, "expectations": [{{"type": …, "kwargs": {{…}}}}]}}; mend the suite'
        ) from error
    return {"name": path.stem, **suite}


def declared(suite: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[Expectation]:
    """The suite's expectations in order, with `{"$PARAMETER": name}` filled in from `parameters`.

    Raises `DataError` for a parameter, a severity or a share that does not exist.
    """
    return [_declared(str(suite["name"]), item, parameters) for item in suite["expectations"]]


def _declared(suite: str, item: Mapping[str, Any], parameters: Mapping[str, Any]) -> Expectation:
    where = f"suite {suite}: {item['type']}"
    meta = dict(item.get("meta") or {})
    _refuse_slips(where, meta)
    kwargs = {name: _filled(where, value, parameters) for name, value in item.get("kwargs", {}).items()}
    return Expectation(
        type=str(item["type"]),
        rule=str(meta.get("rule") or item["type"]),
        severity=_severity(where, meta, item),
        max_share=_share(where, "meta.max_share", meta.get("max_share", 1.0)),
        mostly=_share(where, "mostly", kwargs.pop("mostly", 1.0)),
        condition=kwargs.pop("row_condition", None),
        kwargs=kwargs,
        description=str(item.get("description") or ""),
        suite=suite,
    )


def _refuse_slips(where: str, meta: Mapping[str, Any]) -> None:
    for key in meta:
        near = difflib.get_close_matches(key, _META, 1, 0.75)
        if near and key not in _META:
            raise DataError(f"{where}: found meta.{key}; did you mean {near[0]}?")


def _severity(where: str, meta: Mapping[str, Any], item: Mapping[str, Any]) -> Severity:
    """Ours, or what Great Expectations' own `severity` stands for."""
    found = meta.get("severity", _GX_SEVERITY.get(str(item.get("severity", "critical")).lower(), "quarantine"))
    if found not in SEVERITIES:
        raise DataError(f"{where}: found meta.severity {found!r}, expected one of {', '.join(SEVERITIES)}")
    return cast(Severity, found)


def _share(where: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DataError(f"{where}: found {name} {value!r}, expected a share from 0 to 1")
    return float(value)


def _filled(where: str, value: Any, parameters: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        name = value.get("$PARAMETER")
        if name is None:
            return {key: _filled(where, part, parameters) for key, part in value.items()}
        if name not in parameters:
            near = difflib.get_close_matches(str(name), parameters, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(sorted(parameters))}"
            raise DataError(f"{where}: found $PARAMETER {name!r}, which a run does not supply; {hint}")
        return parameters[name]
    return [_filled(where, part, parameters) for part in value] if isinstance(value, list) else value


def outvoted(
    expectations: Sequence[Expectation], severity: Mapping[str, Severity], max_share: Mapping[str, float]
) -> list[Expectation]:
    """The expectations with what the spec says of their rules, or of their types."""
    return [
        replace(
            each,
            severity=severity.get(each.rule, severity.get(each.type, each.severity)),
            max_share=max_share.get(each.rule, max_share.get(each.type, each.max_share)),
        )
        for each in expectations
    ]
