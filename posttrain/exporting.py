"""Export: a registered version as a folder, with the release's gates asked again of what was written.

A smaller copy is compared with the version itself, on the same rows: what a gate asks of the champion is asked of it
there. Knows no terminal.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain import gates
from posttrain.artifacts import DatasetRef, Frozen, ModelRef, write_atomic
from posttrain.errors import ModelError, WorkspaceError
from posttrain.evaluation.metrics import main_metric
from posttrain.evaluation.scores import Scores
from posttrain.models import export
from posttrain.models.load import saved_in
from posttrain.registry.exported import Weights
from posttrain.spec.sections.gates import MARGIN, Gate

if TYPE_CHECKING:
    from posttrain.spec import PipelineSpec

Measure = Callable[[ModelRef], Scores]
GGUF = "model.gguf"
MANIFEST = "export.json"


class Exported(Frozen):
    """What was written where, and what its measurement said, if it was measured."""

    folder: str
    format: export.Format
    version: str
    checked: tuple[str, ...]
    bytes: int
    before: Scores | None = None
    after: Scores | None = None
    verdict: gates.Verdict | None = None


def export_version(
    weights: Weights,
    folder: Path,
    format: export.Format,
    spec: PipelineSpec | None = None,
    measure: Measure | None = None,
) -> Exported:
    """Write the version into `folder`, which must not be there yet; it appears when all is done, or not at all.

    With `spec` and `measure` the copy is measured and judged; a refusal writes nothing.
    Raises: `WorkspaceError` for the folder; `ModelError` for what cannot be made, and for a copy that the gates refuse.
    """
    check_possible(folder, format, measured=spec is not None and measure is not None)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _write(weights, partial, format)
        judged = _judged(weights, partial, format, spec, measure)
        done = Exported(
            folder=str(folder),
            format=format,
            version=weights.shown,
            checked=weights.checked,
            bytes=sum(file.stat().st_size for file in partial.rglob("*") if file.is_file()),
            **judged,
        )
        write_atomic(partial / MANIFEST, _manifest(weights, done))
        partial.replace(folder)
    except PermissionError as error:
        raise WorkspaceError(f"{folder}: cannot write there ({error.strerror}); choose another --to") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return done


def check_possible(folder: Path, format: export.Format, measured: bool) -> None:
    """What can be told before a weight is read: is there room for it, can this machine make it, will it be `measured`?

    Raises: `WorkspaceError`; `ModelError`.
    """
    if folder.exists():
        raise WorkspaceError(f"{folder}: is there already, expected a new folder; remove it or choose another --to")
    export.check_possible(format)
    if format in ("int8", "int4") and not measured:
        raise ModelError(
            f"--format {format}: fewer bits cost quality, which is measured before the copy is written, found no spec "
            "that says how; give --spec SPEC"
        )


def demands(spec: PipelineSpec, measured: Scores) -> list[Gate]:
    """The release's demands, as they are asked of a copy of the model that passed them.

    Thresholds stay. Whatever was to be better than another model, or no worse, must be no worse than the model itself;
    so must the main metric, whether it was asked for or not.
    """
    main = main_metric(spec.task.kind, measured.metrics)
    found: list[Gate] = []
    for gate in spec.gates.demands("release", main):
        if gate.at_least is not None or gate.at_most is not None:
            found.append(Gate(metric=gate.metric, slice=gate.slice, at_least=gate.at_least, at_most=gate.at_most))
        if gate.above or gate.not_worse_than:
            allowed = {"margin": gate.margin, "relative": gate.relative} if gate.not_worse_than else {"margin": MARGIN}
            found.append(Gate(metric=gate.metric, slice=gate.slice, not_worse_than="previous", **allowed))
    if not any(gate.metric == main and gate.slice is None and gate.not_worse_than for gate in found):
        found.append(Gate(metric=main, not_worse_than="previous", margin=MARGIN))
    return found


def _write(weights: Weights, partial: Path, format: export.Format) -> None:
    merged = Path(weights.model.base)
    if format != "merged" and weights.model.adapter is not None:
        raise ModelError(f"{weights.shown}: has virtual tokens, which {format} has no place for; export it merged")
    if format == "gguf":
        export.save_gguf(merged, partial / GGUF)
    elif format == "merged":
        shutil.copytree(merged, partial, dirs_exist_ok=True)
        if export.weights_digest(partial) != export.weights_digest(merged):
            raise WorkspaceError(f"{partial}: what was written is not what was read from {merged}; look at the disk")
    else:
        export.save_quantised(merged, partial, format)


def _judged(
    weights: Weights, partial: Path, format: export.Format, spec: PipelineSpec | None, measure: Measure | None
) -> dict[str, Scores | gates.Verdict]:
    """The copy against the version, by the release's gates; nothing for a file that only llama.cpp reads."""
    if spec is None or measure is None or format == "gguf":
        return {}
    before = measure(weights.model)
    after = measure(saved_in(partial, f"{format}-{export.weights_digest(partial)}"))
    measured = spec.evaluate
    verdict = gates.judge(
        "release",
        demands(spec, after),
        after,
        {"previous": before},
        measured.resamples,
        measured.seed,
        spec.gates.correction,
    )
    if not verdict.passed:
        raise ModelError(f"{weights.shown} as {format}: {verdict.summary}; nothing was written, export it merged")
    return {"before": before, "after": after, "verdict": verdict}


def _manifest(weights: Weights, done: Exported) -> str:
    told = {
        "model": weights.name,
        "version": weights.version,
        "format": done.format,
        "evaluated_as": weights.model.fingerprint,
        "mlflow_run": weights.run_id,
        "checked_by": list(weights.checked),
        "verdict": done.verdict.summary if done.verdict else None,
        "scores": {name: score.value for name, score in done.after.metrics.items()} if done.after else None,
    }
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def measuring(spec: PipelineSpec, root: Path, rows: DatasetRef, general: DatasetRef | None, workspace: Path) -> Measure:
    """Measures a model as the release does: on the test rows, plainly asked, by the spec's metrics."""
    from posttrain.artifacts import Workspace
    from posttrain.evaluation.measure import measure
    from posttrain.evaluation.scoring import scoring_of

    scoring = scoring_of(spec, root)

    def of(model: ModelRef) -> Scores:
        return measure(
            model,
            rows,
            split="test",
            prompting="zero-shot",
            task=spec.task,
            spec=spec.evaluate,
            workspace=Workspace(workspace),
            scoring=scoring,
            general_held_out=general,
        ).result

    return of
