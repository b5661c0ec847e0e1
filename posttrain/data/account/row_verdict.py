"""One person's word on one row, and the file in which such words are kept, beside the spec.

The file is JSON Lines, appended to and never rewritten by a run; it belongs into version control. Knows nothing of
what a word does to a row: that is `verdicts.py`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from posttrain.artifacts import Frozen, write_atomic
from posttrain.errors import DataError

EVERY = "*"
TEXTS = ("prompt", "completion", "chosen", "rejected")
"""The columns that people judge. The system message is left out: curation fills it in from the task."""

DUPLICATES = ("duplicate", "exact_duplicate", "near_duplicate", "semantic_duplicate")
"""Rules from the strictest to the loosest: a row that repeats another by one does so by those after it as well."""


class RowVerdict(Frozen):
    """What somebody said of a row. `id` "*" is every row, `rule` "*" any rule.

    `content` is that of the row as it was judged (see `content`); `texts` and `becomes`, the content that they lead
    to, are an edit's. `at` is UTC.
    """

    id: str = Field(min_length=1)
    content: str = ""
    rule: str = Field(min_length=1)
    verdict: Literal["restore", "drop", "keep", "edit"]
    by: str = ""
    at: str = ""
    note: str = ""
    texts: dict[str, str] = Field(default_factory=dict)
    becomes: str = ""

    @model_validator(mode="after")
    def _whole(self) -> RowVerdict:
        if self.id == EVERY and (self.rule == EVERY or self.verdict not in ("restore", "drop")):
            raise ValueError('a word on every row needs one rule, and restore or drop; name the rule in "rule"')
        if self.id != EVERY and not self.content:
            raise ValueError('"content" is empty; let `posttrain rows restore` or `rows review` write the line')
        if (self.verdict == "edit") != bool(self.texts) or bool(self.becomes) != bool(self.texts):
            raise ValueError('"texts" and "becomes" belong to an edit, and to nothing else; import it again')
        if unknown := sorted(set(self.texts) - set(TEXTS)):
            raise ValueError(f'"texts" has {unknown[0]}, expected {", ".join(TEXTS)}; mend or remove the line')
        return self

    @property
    def sets_aside(self) -> bool:
        """Whether the row shall not be trained on; any other word lets it go on."""
        return self.verdict == "drop"

    def says_as(self, other: RowVerdict) -> bool:
        """Whether both say the same, whoever said it and when."""
        left_out = {"by", "at"}
        return self.model_dump(exclude=left_out) == other.model_dump(exclude=left_out)


def content(row: Mapping[str, str]) -> str:
    """Sixteen hexadecimal digits of the sha256 of a row's texts; white space and Unicode composition do not count."""
    texts = [(name, " ".join(unicodedata.normalize("NFC", row.get(name) or "").split())) for name in TEXTS]
    plain = json.dumps([pair for pair in texts if pair[1]], ensure_ascii=False)
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def edit(row: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, str]:
    """The row with new texts; in a conversation (`messages`) the last turn changes along with the completion."""
    changed = {**row, **texts}
    if "completion" in texts and row.get("messages"):
        turns = json.loads(row["messages"])
        turns[-1] = {**turns[-1], "content": texts["completion"]}
        changed["messages"] = json.dumps(turns, ensure_ascii=False)
    return changed


def and_looser(rule: str) -> tuple[str, ...]:
    """The rules that a row must pass to be restored from this one: a duplicate would be found by looser rules, too."""
    return DUPLICATES[DUPLICATES.index(rule) :] if rule in DUPLICATES else (rule,)


def now() -> str:
    """The time as verdicts tell it: UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- the file ------------------------------------------------------------------------------------------------


def beside(spec: Path) -> Path:
    """Where the words on a spec's rows are kept: `pipelines/x.yaml` has `pipelines/x.verdicts.jsonl`."""
    return spec.with_suffix(".verdicts.jsonl")


def read(path: Path) -> list[RowVerdict]:
    """The file's words in their order; none when there is no file. Raises `DataError` naming the first bad line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found = f"0x{error.object[error.start]:02x}"
        raise DataError(f"{path}:{line}: found byte {found}, expected UTF-8 text; save the file as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    return [_word(path, number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _word(path: Path, number: int, line: str) -> RowVerdict:
    where = f"{path}:{number}"
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError(f"{where}: not JSON, expected one verdict a line; mend or remove the line") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: found {type(value).__name__}, expected a JSON object; mend or remove the line")
    try:
        return RowVerdict.model_validate(value)
    except ValidationError as error:
        raise DataError(f"{where}: {_mistake(error, value)}") from None


def _mistake(error: ValidationError, value: Mapping[str, object]) -> str:
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "missing":
        return f'"{name}" is missing; mend or remove the line'
    if first["type"] == "extra_forbidden":
        return f'"{name}" is no key of a verdict, expected {", ".join(RowVerdict.model_fields)}; remove it'
    expected = "restore, drop, keep or edit" if name == "verdict" else "a text that is not empty"
    return (
        f'"{name}" is {json.dumps(value.get(name), ensure_ascii=False)}, expected {expected}; mend or remove the line'
    )


def add(path: Path, words: Sequence[RowVerdict]) -> list[RowVerdict]:
    """Append the words that are news and return them; what was said already, and not taken back since, is not.

    A reader sees all of them or none, and two writers at the same time lose nothing.
    """
    path = path.resolve()
    with _alone(path.parent):
        standing: dict[str, list[RowVerdict]] = {}
        for word in read(path):
            _is_news(word, standing)
        news = [word for word in words if _is_news(word, standing)]
        if news:
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            before += "" if before.endswith("\n") or not before else "\n"
            write_atomic(path, before + "".join(_line(word) for word in news))
    return news


def _is_news(word: RowVerdict, standing: dict[str, list[RowVerdict]]) -> bool:
    """Whether nobody has said so before; a word that contradicts earlier ones on its row takes their place."""
    mine = standing.get(word.id, [])
    if any(word.says_as(other) for other in mine):
        return False
    if word.id == EVERY:
        mine = [other for other in mine if other.rule != word.rule]
        standing.clear()  # a word on all rows may overrule those on single ones, so they may be worth repeating
    standing[word.id] = [*(other for other in mine if other.sets_aside == word.sets_aside), word]
    return True


def _line(word: RowVerdict) -> str:
    left_out = set() if word.texts else {"texts", "becomes"}
    return json.dumps(word.model_dump(exclude=left_out), ensure_ascii=False) + "\n"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Other writers wait. The folder itself is locked, so that nothing is left lying beside the spec."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
