"""General ability by tasks of lm-evaluation-harness, asked of the loaded model with our chat template.

Each row of a task becomes a row of ours with the value of the task's first metric, so that intervals, paired tests and
gates take it from there. Only metrics that are means over rows can be read so. With a folder of one's own nothing
leaves the machine; what the libraries would do on their own is held back in `harness_bounds`. Knows nothing of gates.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from posttrain.artifacts import Frozen, digest, file_digest
from posttrain.errors import DataError
from posttrain.evaluation.harness_bounds import bounds
from posttrain.progress import Progress, silent
from posttrain.spec.metrics import GENERAL_SLICE
from posttrain.spec.sections.harness import HarnessSpec

METRIC = "general_ability"
_PACKAGE = "lm_eval"


class Harness(Frozen):
    """The tasks in plain data, part of the measuring stage's fingerprint: `digest` is of the files in `folder`,
    `version` of the library."""

    spec: HarnessSpec
    folder: str = ""
    digest: str = ""
    version: str = ""


def harness_of(spec: HarnessSpec, root: Path) -> Harness:
    """The tasks that a spec asks for; its folder starts at `root`.

    Raises: `DataError` when lm-evaluation-harness is not installed, or the folder is not there or holds no task.
    """
    if find_spec(_PACKAGE) is None:
        raise DataError("evaluate.harness: lm-evaluation-harness is missing; pip install 'posttrain[harness]'")
    if spec.include_path is None:
        return Harness(spec=spec, version=version(_PACKAGE))
    folder = (root / spec.include_path).resolve()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    if not any(path.suffix == ".yaml" for path in files):
        raise DataError(
            f"evaluate.harness.include_path: {spec.include_path} holds no .yaml of a task; correct the path"
        )
    return Harness(
        spec=spec,
        folder=str(folder),
        digest=digest({str(path.relative_to(folder)): file_digest(path) for path in files}),
        version=version(_PACKAGE),
    )


def answered(
    harness: Harness, model: Any, tokenizer: Any, batch_size: int = 16, seed: int = 0, progress: Progress = silent
) -> dict[str, list[dict[str, Any]]]:
    """Name of a slice -> a row for each question: id, prompt, expected, output and the value of `general_ability`.

    A group of tasks is one slice with the rows of all of them. The caller's random state is left as it was.

    Raises: `DataError` for a task that is unknown, cannot be read, or is scored by no mean over rows.
    """
    progress(0, len(harness.spec.tasks), "general ability")
    found = _evaluated(harness, model, tokenizer, batch_size, seed)
    told = {}
    for place, name in enumerate(harness.spec.tasks):
        parts = sorted(_leaves(name, found.get("group_subtasks", {})))
        told[f"{GENERAL_SLICE}{name}"] = [row for part in parts for row in _rows(found, part)]
        progress(place + 1, len(harness.spec.tasks), "general ability")
    return told


def _evaluated(harness: Harness, model: Any, tokenizer: Any, batch_size: int, seed: int) -> Mapping[str, Any]:
    where = f"evaluate.harness: {', '.join(harness.spec.tasks)}"
    failed: Exception | None = None
    found: Mapping[str, Any] = {}
    with bounds() as refused:
        try:
            found = _run(harness, model, tokenizer, batch_size, seed)
        except (KeyError, ValueError, OSError, TypeError, ImportError) as error:
            failed = error
    if refused:
        raise DataError(
            f"{where}: the metric {refused[0]} is none of lm-evaluation-harness's own and would be code from the hub, "
            "which is not run; use acc, exact_match or a !function of your own"
        ) from failed
    if failed:
        text = " ".join(str(failed).split())[:300] or type(failed).__name__
        raise DataError(f"{where}: lm-evaluation-harness said: {text}; correct the tasks' files") from failed
    return found


def _run(harness: Harness, model: Any, tokenizer: Any, batch_size: int, seed: int) -> Mapping[str, Any]:
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    spec = harness.spec
    found = lm_eval.simple_evaluate(
        HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size, truncation=True),
        tasks=list(spec.tasks),
        num_fewshot=spec.num_fewshot,
        limit=spec.limit,
        bootstrap_iters=0,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        task_manager=_manager(harness.folder),
        log_samples=True,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    return dict(found or {})


def _manager(folder: str) -> Any:
    """Knows the tasks of the folder, whose paths of data start there; without one, those of lm-evaluation-harness."""
    from lm_eval.tasks import TaskManager

    class FromFolder(TaskManager):  # type: ignore[misc]
        def load(self, *args: Any, **kwargs: Any) -> Any:
            with contextlib.chdir(folder or "."):
                return super().load(*args, **kwargs)

    return FromFolder(include_path=folder or None, include_defaults=not folder)


def _leaves(name: str, groups: Mapping[str, list[str]]) -> set[str]:
    below = groups.get(name) or []
    return {leaf for part in below for leaf in _leaves(part, groups)} if below else {name}


def _rows(found: Mapping[str, Any], task: str) -> Iterator[dict[str, Any]]:
    """The rows of a task, with the value of its first metric."""
    samples, config = found["samples"].get(task), found["configs"].get(task, {})
    listed = config.get("metric_list") or [{"metric": "acc"}]
    metric, how = listed[0]["metric"], listed[0].get("aggregation", "mean")
    higher = found.get("higher_is_better", {}).get(task, {}).get(metric, listed[0].get("higher_is_better", True))
    if how != "mean" or not higher or not samples or not isinstance(samples[0].get(metric), int | float):
        raise DataError(
            f"evaluate.harness: {task}: its first metric is {metric} ({how}), expected a mean over rows of which more "
            "is better, such as acc; put one first in metric_list"
        )
    first = samples[0].get("filter")
    for sample in samples:
        if sample.get("filter") == first:
            yield {
                "id": f"{task}:{sample['doc_id']}",
                "prompt": _asked(sample),
                "expected": str(sample["target"]),
                "output": str(sample["filtered_resps"]),
                METRIC: float(sample[metric]),
            }


def _asked(sample: Mapping[str, Any]) -> str:
    """What the model was shown first: the only thing, or with the first of several endings."""
    arguments = sample["arguments"]
    first = arguments[0] if isinstance(arguments, list | tuple) else next(iter(arguments.values()))
    return str(first[0] if isinstance(first, list | tuple) else next(iter(first.values())))
