"""The text of a starter spec for a data file that somebody has looked at. Knows the spec; reads and writes no file."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from posttrain.errors import SpecError

Kind = Literal["intent_slots", "extraction", "text"]


class Summary(Protocol):
    """What a first look at a data file found (`posttrain.data.look.SourceSummary`)."""

    @property
    def format(self) -> str: ...
    @property
    def rows(self) -> int | None: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def example(self) -> Mapping[str, str]: ...


_INSTRUCTION = {
    "intent_slots": "Turn the command into JSON: intent and slots.",
    "extraction": "Extract the fields as JSON.",
    "text": "",
}
_MAIN = {"intent_slots": "slot_f1", "extraction": "field_f1", "text": "token_f1"}
_WHY = {
    "intent_slots": "the first completion is JSON with an intent and its slots",
    "extraction": "the first completion is JSON",
    "text": "the first completion is not JSON",
}

_PLAIN_NAMES = ("train", "data", "rows")

_TEXT = """\
# A starter spec for {path} ({rows}, format {format}, columns {columns}).
# Its first row:
#   prompt:     {prompt}
#   completion: {completion}
#
#   posttrain plan SPEC        what would run, with which values and why
#   posttrain validate SPEC    this file and its data only
#   posttrain run SPEC         everything
#
# Every key that is left out has the default of docs/spec.md.

name: {name}

task:
  # intent_slots, extraction (any JSON) or text. Guessed: {why}.
  kind: {kind}
  # The system message of every row, in training as in evaluation. Short is enough: training teaches the rest.
  instruction: {instruction}

base:
  # tiny is embedded: 4 million parameters, offline, minutes on a CPU; good for trying a pipeline out, and for narrow
  # tasks. Any Hugging Face id or folder may stand here, e.g. Qwen/Qwen3-0.6B.
  model: tiny

data:
  train:
    - {{path: {quoted}, format: {format}}}
  # Rows that decide the release, never trained on: where a row of this file is in `train` too, curation drops it there.
  # {how_to_split}
  test:
    - {{path: {test}, format: {format}}}
  # Text that has nothing to do with the task keeps general ability (mixed in) and shows what was forgotten (held out):
  # general: [data/general/train.jsonl.gz]
  # general_held_out: [data/general/held_out.jsonl.gz]

strategy:
  # Good enough, on the validation split; training goes on to DPO only while these are missed. Set what your use needs.
  targets:
    {main}: 0.80

sft:
  # full suits the tiny base; from about a billion parameters `lora` saves most of the memory.
  method: full
  # Left out, the recipe chooses by model size and rows; `posttrain plan` shows what and why.
  # learning_rate: 1e-3
  # num_train_epochs: 3
  # batch_size: 32

gates:
  after_sft:
    # Better than the base, and not by luck.
    - {{metric: {main}, above: baseline, significant: true}}
  after_align:
    - {{metric: {main}, not_worse_than: previous, margin: 0.02}}
  release:
    # On the test rows. The first model has no champion to beat, and passes this one.
    - {{metric: {main}, not_worse_than: champion, margin: 0.02}}
    # With data.general_held_out above: perplexity may rise by half at most.
    # - {{metric: perplexity, not_worse_than: baseline, margin: 0.5, relative: true}}

# schedule:
#   cron: "0 3 * * 1"    # Mondays at 3:00
"""


def starter_spec(path_of_data: Path | str, summary: Summary, root: Path | None = None) -> str:
    """A commented spec that `posttrain.spec.load` accepts as it stands.

    Paths in it are written from `root` (the current folder); `data.test` names a file beside the data that the
    user is told how to make. Raises `SpecError` for a data file outside of `root`.
    """
    path = _inside(Path(path_of_data), (root or Path.cwd()).resolve())
    stem, suffix = _parts(path)
    kind = guess_kind(summary.example.get("completion", ""))
    test = path.with_name(f"{stem.replace('train', 'test') if 'train' in stem else stem + '_test'}{suffix}")
    return _TEXT.format(
        path=_shown(str(path)),
        quoted=json.dumps(path.as_posix()),
        test=json.dumps(test.as_posix()),
        rows=f"{summary.rows:,} rows" if summary.rows is not None else "rows not counted",
        format=summary.format,
        columns=_shown(", ".join(summary.columns), 200),
        prompt=_shown(summary.example.get("prompt", "")),
        completion=_shown(summary.example.get("completion", "")),
        name=json.dumps(_name(path.parent.name if stem in _PLAIN_NAMES and path.parent.name else stem)),
        kind=kind,
        why=_WHY[kind],
        instruction=json.dumps(_INSTRUCTION[kind]),
        main=_MAIN[kind],
        how_to_split=_how_to_split(path, test, suffix),
    )


def guess_kind(completion: str) -> Kind:
    """The task kind that a completion looks like."""
    try:
        value: Any = json.loads(completion)
    except ValueError:
        return "text"
    if isinstance(value, dict) and set(value) == {"intent", "slots"}:
        return "intent_slots"
    return "extraction" if isinstance(value, dict | list) else "text"


def _inside(path: Path, root: Path) -> Path:
    whole = Path(os.path.normpath(root / path))
    if not whole.is_relative_to(root):
        raise SpecError(
            f"{path}: lies outside the project ({root}), expected a file inside it; copy or link it into data/"
        )
    return whole.relative_to(root)


def _parts(path: Path) -> tuple[str, str]:
    """`rows.jsonl.gz` as `rows` and `.jsonl.gz`."""
    inner = Path(path.stem)
    return (inner.stem, inner.suffix + path.suffix) if path.suffix == ".gz" else (path.stem, path.suffix)


def _name(stem: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("._-")[:100]
    return name or "pipeline"


def _how_to_split(path: Path, test: Path, suffix: str) -> str:
    source, target = (_shown(shlex.quote(each.as_posix()), 300) for each in (path, test))
    if suffix == ".jsonl":
        return f"To set aside every tenth row:  awk 'NR % 10 == 0' {source} > {target}"
    if suffix == ".jsonl.gz":
        return f"To set aside every tenth row:  gzip -dc {source} | awk 'NR % 10 == 0' | gzip > {target}"
    return f"Put a tenth of the rows, drawn at random, into {target}."


def _shown(text: str, limit: int = 90) -> str:
    """One line that is safe inside a YAML comment."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= limit else line[: limit - 1] + "…"
