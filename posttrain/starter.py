"""The text of a starter spec for a data file that somebody has looked at. Knows the spec; reads and writes no file."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from posttrain.errors import SpecError
from posttrain.guess import guess_kind


class Summary(Protocol):
    """What a first look at a data file found (`posttrain.data.look.SourceSummary`)."""

    @property
    def format(self) -> str: ...
    @property
    def rows(self) -> int | None: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def kind(self) -> str: ...
    @property
    def files(self) -> int: ...
    @property
    def settings(self) -> Mapping[str, str | list[str]]: ...
    @property
    def example(self) -> Mapping[str, str]: ...
    @property
    def completions(self) -> Sequence[str]: ...


_INSTRUCTION = {
    "intent_slots": "Turn the command into JSON: intent and slots.",
    "extraction": "Extract the fields as JSON.",
    "classification": "Answer with the label only.",
    "text": "",
    "verifiable": "Solve the problem. The last number of your answer counts.",
}
_MAIN = {
    "intent_slots": "slot_f1",
    "extraction": "field_f1",
    "classification": "macro_f1",
    "text": "token_f1",
    "verifiable": "final_answer",
}
_WHY = {
    "intent_slots": "the first completion is JSON with an intent and its slots",
    "extraction": "the first completion is JSON",
    "classification": "the completions are few short texts that repeat",
    "text": "the completions are neither JSON, nor labels that repeat, nor numbers",
    "verifiable": "the completions end in #### and a number, or are numbers",
}

_ROWS = {
    "prompt_completion": "prompts and completions",
    "messages": "conversations",
    "preference": "preference pairs: a prompt, a better and a worse answer",
    "unpaired": "answers that are each good or bad",
    "rating": "answers with the ratings of annotators",
}
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TEXTS = ("system", "prompt", "completion", "chosen", "rejected", "label", "ratings")
_PLAIN_NAMES = ("train", "data", "rows")

_TEXT = """\
# A starter spec for {path} ({rows}, format {format}, columns {columns}).
# It holds {kind_of_rows}. The first row:
{example}
#
#   posttrain plan SPEC        what would run, with which values and why
#   posttrain validate SPEC    this file and its data only
#   posttrain run SPEC         everything
#
# Every key that is left out has the default of docs/spec.md.

name: {name}

task:
  # intent_slots, extraction (any JSON), classification (one label), text, or verifiable (ends in a number).
  # Guessed: {why}.
  kind: {kind}
  # The system message of every row, in training as in evaluation. Short is enough: training teaches the rest.
  instruction: {instruction}

base:
  # tiny is embedded: 4 million parameters, offline, minutes on a CPU; good for trying a pipeline out, and for narrow
  # tasks. Any Hugging Face id or folder may stand here, e.g. Qwen/Qwen3-0.6B.
  model: tiny

data:
  train:
    - {source}
  # Rows that decide the release, never trained on: where a row of this file is in `train` too, curation drops it there.
  # {how_to_split}
  test:
    - {test}
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


def starter_spec(
    path_of_data: Path | str, summary: Summary, root: Path | None = None, splits: Sequence[str] = ()
) -> str:
    """A commented spec that `posttrain.spec.load` accepts as it stands.

    Paths in it are written from `root` (the current folder). `data.test` names the test split, if the data has one
    (`splits`); else a file beside the data that the user is told how to make. Raises `SpecError` for a data file
    outside of `root`.
    """
    path = str(path_of_data)
    if "://" not in path and not _is_hub(path, summary):
        path = _inside(Path(path), (root or Path.cwd()).resolve()).as_posix()
    stem, _ = _parts(PurePosixPath(path).name)
    folder = PurePosixPath(path).parent.name
    seen = summary.completions or [summary.example.get("completion") or summary.example.get("chosen", "")]
    kind = guess_kind(*seen)
    test, how_to_split = _test(path, summary, splits)
    return _TEXT.format(
        path=_shown(path),
        rows=_counted(summary),
        format=summary.format,
        columns=_shown(", ".join(summary.columns), 200),
        kind_of_rows=_ROWS[summary.kind],
        example="\n".join(f"#   {name + ':':11} {_shown(summary.example.get(name, ''))}" for name in _told(summary)),
        name=json.dumps(_name(folder if stem in _PLAIN_NAMES and folder else stem)),
        kind=kind,
        why=_WHY[kind],
        instruction=json.dumps(_INSTRUCTION[kind]),
        main=_MAIN[kind],
        source=_source({"path": path, **summary.settings}),
        test=_source({"path": path, **summary.settings, **test}),
        how_to_split=how_to_split,
    )


def _is_hub(path: str, summary: Summary) -> bool:
    """Whether a plain `owner/name` was read from the hub: its rows then name an address."""
    return "://" not in path and summary.example.get("source", "").startswith("hf://")


def _counted(summary: Summary) -> str:
    rows = f"{summary.rows:,} rows" if summary.rows is not None else "rows not counted"
    return rows if summary.files == 1 else f"{summary.files:,} files, {rows}"


def _told(summary: Summary) -> list[str]:
    """The texts of the first row that are worth showing."""
    return [name for name in _TEXTS if summary.example.get(name) or name == "prompt"]


def _test(path: str, summary: Summary, splits: Sequence[str]) -> tuple[dict[str, str], str]:
    """What the test source says otherwise than the training source, and how the user comes by it."""
    own = summary.settings.get("split")
    other = next((split for split in ("test", "validation") if split in splits and split != own), None)
    if own and other:
        return {"split": other}, f"The data has splits of its own: {', '.join(splits)}."
    stem, suffix = _parts(PurePosixPath(path).name)
    name = f"{stem.replace('train', 'test') if 'train' in stem else stem + '_test'}{suffix}"
    if "://" in path or _is_hub(path, summary):
        return {"path": f"data/{name}"}, f"Put rows that are not in {_shown(path)} into data/{_shown(name)}."
    test = PurePosixPath(path).with_name(name)
    return {"path": test.as_posix()}, _how_to_split(PurePosixPath(path), test, suffix)


def _source(settings: Mapping[str, str | list[str]]) -> str:
    """A source as one line of YAML."""
    return "{" + ", ".join(f"{name}: {_value(name, value)}" for name, value in settings.items()) + "}"


def _value(name: str, value: str | list[str]) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_value(name, each) for each in value)}]"
    if (
        name == "path"
        or not _WORD.fullmatch(value)
        or value.lower() in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
    ):
        return json.dumps(value)
    return value


def _inside(path: Path, root: Path) -> Path:
    whole = Path(os.path.normpath(root / path))
    if not whole.is_relative_to(root):
        raise SpecError(
            f"{path}: lies outside the project ({root}), expected a file inside it; copy or link it into data/"
        )
    return whole.relative_to(root)


def _parts(name: str) -> tuple[str, str]:
    """`rows.jsonl.gz` as `rows` and `.jsonl.gz`."""
    path = PurePosixPath(name)
    inner = PurePosixPath(path.stem)
    return (inner.stem, inner.suffix + path.suffix) if path.suffix in (".gz", ".zst") else (path.stem, path.suffix)


def _name(stem: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("._-")[:100]
    return name or "pipeline"


def _how_to_split(path: PurePosixPath, test: PurePosixPath, suffix: str) -> str:
    source, target = (_shown(shlex.quote(each.as_posix()), 300) for each in (path, test))
    if suffix == ".jsonl":
        return f"To set aside every tenth row:  awk 'NR % 10 == 0' {source} > {target}"
    if suffix == ".jsonl.gz":
        return f"To set aside every tenth row:  gzip -dc {source} | awk 'NR % 10 == 0' | gzip > {target}"
    if not suffix:
        return f"Move a tenth of the files, drawn at random, into {target}."
    return f"Put a tenth of the rows, drawn at random, into {target}."


def _shown(text: str, limit: int = 90) -> str:
    """One line that is safe inside a YAML comment."""
    line = "".join(character if character.isprintable() else " " for character in text[: 4 * limit])
    return line if len(line) <= limit else line[: limit - 1] + "…"
