"""How much junk the rules find among good rows, and how much good they throw away.

    python benchmarks/junk.py [--quick] [--rows 20000] [--corpus FILE ...] [--set KEY=VALUE ...]

S1: 3,000 junk rows in 200,000 (1.5 %) hurt a tenth of the expert answers. So many junk rows of ten kinds are made from
real rows, planted among good ones, and everything goes through the validate and the curate stage as a pipeline would
do it. Good rows are those of `data/general`, or of the files named: .jsonl(.gz) with prompt and completion,
instruction and output, or question and answer. `--set validate.languages=en` and the like show what a setting does;
`--quick` takes 1,000 rows. The last line printed is one JSON object:

- `junk_caught`: share of the junk rows that are set aside (dropped or for review), or mended by cleaning
- `good_lost`: share of the good rows that are set aside
- `caught_by_kind`, `lost_by_file`, `lost_by_rule`: the same in detail
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

JUNK = 0.015
HELD_OUT = 50
SHIPPED = [PROJECT / "data" / "general" / name for name in ("train.jsonl.gz", "replay.jsonl.gz")]
LENGTH = (10, 2000)
"""Characters of a good chat answer (S3). The corpora have shorter ones, labels mostly, that the length rule is there to
take; they would hide everything else."""
COLUMNS = (("prompt", "completion"), ("instruction", "output"), ("question", "answer"))


@dataclass(frozen=True)
class Planted:
    """A row: its texts, the file it comes from, and, of junk, its kind. `mended` is what cleaning may make of it."""

    prompt: str
    completion: str
    origin: str
    kind: str = ""
    mended: str = ""


# --- junk ----------------------------------------------------------------------------------------------------

Make = Callable[[Planted, Planted, random.Random], tuple[str, str]]
"""(row, another row, chance) -> prompt and completion."""

_FOREIGN = (
    "这个问题没有简单的答案，需要根据具体情况来判断，请您先提供更多的背景信息。",
    "Эта тема требует отдельного разговора, поэтому сначала нужно собрать все данные.",
    "No hay una respuesta sencilla a esta pregunta; todo depende de las circunstancias de cada caso.",
    "Darauf gibt es keine einfache Antwort, denn es kommt immer auf die näheren Umstände an.",
)
_EMPTY = (
    "That is a great question!", "I am happy to help you with that.", "There are many things to consider here.",
    "It really depends on a number of factors.", "As with everything, there are pros and cons.",
    "I hope this helps!", "Please let me know if you have any other questions.", "Feel free to ask me anything.",
)  # fmt: skip
_KEYS = ("asdfghjkl", "qwertyuiop", "zxcvbnm")


def mojibake(row: Planted, other: Planted, chance: random.Random) -> tuple[str, str]:
    """UTF-8 read as cp1252; where a text is plain ASCII, its quotes are curled first."""
    curled = row.completion.replace("'", "’").replace(" - ", " — ").replace('"', "“") + " …"
    return row.prompt, curled.encode().decode("cp1252", "ignore")


def loop(row: Planted, other: Planted, chance: random.Random) -> tuple[str, str]:
    """The first words again and again, as models do that got stuck."""
    words = row.completion.split()[: chance.randrange(4, 12)]
    return row.prompt, " ".join(words * (60 // len(words) + 2))


def truncated(row: Planted, other: Planted, chance: random.Random) -> tuple[str, str]:
    """Cut in the middle of a word."""
    cut = max(6, int(len(row.completion) * chance.uniform(0.2, 0.6)))
    return row.prompt, row.completion[:cut].rstrip(" .!?")


def other_language(row: Planted, other: Planted, chance: random.Random) -> tuple[str, str]:
    """An answer in a language that nobody asked for."""
    return row.prompt, f"{chance.choice(_FOREIGN)} ({chance.randrange(1000)})"


def empty_talk(row: Planted, other: Planted, chance: random.Random) -> tuple[str, str]:
    """Politeness without an answer."""
    return row.prompt, " ".join(chance.sample(_EMPTY, 4))


def other_answer(row: Planted, other: Planted, chance: random.Random) -> tuple[str, str]:
    """The good answer to another question."""
    return row.prompt, other.completion


def html(row: Planted, other: Planted, chance: random.Random) -> tuple[str, str]:
    """As scraped."""
    inside = row.completion.replace("\n", "<br/>\n").replace("&", "&amp;")
    return row.prompt, f'<div class="answer-{chance.randrange(99)}"><p>{inside}</p></div>&nbsp;'


def mash(row: Planted, other: Planted, chance: random.Random) -> tuple[str, str]:
    """Fingers on the keyboard."""
    count = chance.randrange(5, 25)
    words = ("".join(chance.choices(chance.choice(_KEYS), k=chance.randrange(3, 10))) for _ in range(count))
    return row.prompt, " ".join(words)


def copy(row: Planted, other: Planted, chance: random.Random) -> tuple[str, str]:
    """The same row in another case and spacing."""
    return row.prompt.upper(), "  ".join(row.completion.split(" ")).rstrip(".")


def near_copy(row: Planted, other: Planted, chance: random.Random) -> tuple[str, str]:
    """The same row with a few words more."""
    return f"Please: {row.prompt}", f"{row.completion} Thanks."


KINDS: tuple[Make, ...] = (
    mojibake, loop, truncated, other_language, empty_talk, other_answer, html, mash, copy, near_copy,
)  # fmt: skip
COPIES = (copy, near_copy)


# --- planting ------------------------------------------------------------------------------------------------


def good_rows(paths: Sequence[Path]) -> Iterator[Planted]:
    """The rows of the files whose answers have a chat answer's length, those with equal texts once."""
    seen: set[tuple[str, str]] = set()
    for path in paths:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in content.splitlines():
            prompt, completion = _texts(json.loads(line))
            if prompt and LENGTH[0] <= len(completion) <= LENGTH[1] and (prompt, completion) not in seen:
                seen.add((prompt, completion))
                yield Planted(prompt, completion, path.name)


def _texts(record: dict[str, Any]) -> tuple[str, str]:
    for asked, told in COLUMNS:
        if asked in record and told in record:
            prompt = "\n".join(filter(None, (record[asked], record.get("input"))))
            return prompt, record[told].removesuffix("<|endoftext|>")  # P3's own mark, not part of the answer
    return "", ""


def plant(good: Sequence[Planted], spare: Sequence[Planted], seed: int) -> list[Planted]:
    """Good rows in random order, with junk made of spare rows among them; copies come after what they copy."""
    chance = random.Random(seed)
    placed = [(chance.random(), row) for row in good]
    for number, row in enumerate(spare):
        make = KINDS[number % len(KINDS)]
        place, base = chance.choice(placed[: len(good)]) if make in COPIES else (0.0, row)
        prompt, completion = make(base, spare[number - 1], chance)
        junk = Planted(prompt, completion, base.origin, make.__name__, row.completion if make is html else "")
        placed.append((chance.uniform(place, 1), junk))
    return [row for _, row in sorted(placed, key=lambda pair: pair[0])]


# --- the two stages ------------------------------------------------------------------------------------------


def run(rows: Sequence[Planted], test: Sequence[Planted], settings: Sequence[str], root: Path) -> dict[int, str]:
    """Row -> the rule that set it aside ("" for rows that go on unmended, "mended" for those that cleaning mended)."""
    from posttrain.artifacts import Workspace
    from posttrain.data.curate import curate
    from posttrain.data.parquet import read_rows
    from posttrain.data.text.words import key
    from posttrain.data.validate import validate
    from posttrain.progress import silent
    from posttrain.spec import CurateSpec, DataSpec, TaskSpec, ValidateSpec

    for name, part in (("train.jsonl", rows), ("test.jsonl", test)):
        lines = (json.dumps({"prompt": row.prompt, "completion": row.completion}) for row in part)
        (root / name).write_text("\n".join(lines), encoding="utf-8")
    given = _settings(settings)
    task, workspace = TaskSpec(kind="text"), Workspace(root / "workspace")
    validate_spec = ValidateSpec.model_validate({"max_quarantined": 1.0, **given["validate"]})
    curate_spec = CurateSpec.model_validate({"validation_rows": 1, **given["curate"]})
    data = DataSpec(train="train.jsonl", test="test.jsonl")
    validated = validate(data, task, validate_spec, workspace, silent, root).result
    curated = curate(validated, task, curate_spec, workspace, silent, root).result
    outcome = {
        _number(row): row["rule"]
        for ref in (validated.quarantine, curated.dropped)
        for row in read_rows(ref)
        if row["split"] == "train"
    }
    for row in (*read_rows(curated.train), *read_rows(curated.validation)):
        planted = rows[_number(row)]
        mended = planted.mended and key(row["completion"]) == key(planted.mended)
        outcome[_number(row)] = "mended" if mended else ""
    return outcome


def _number(row: dict[str, str]) -> int:
    return int(row["source"].rsplit(":", 1)[1]) - 1


def _settings(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    settings: dict[str, dict[str, Any]] = {"validate": {}, "curate": {}}
    for one in given:
        name, _, value = one.partition("=")
        section, _, key = name.partition(".")
        try:
            settings[section][key] = json.loads(value)
        except ValueError:
            settings[section][key] = value
    return settings


# --- what came of it -----------------------------------------------------------------------------------------


def figures(rows: Sequence[Planted], outcome: dict[int, str]) -> dict[str, Any]:
    """Shares of junk caught and good lost, in all and in detail."""
    caught: dict[str, list[bool]] = defaultdict(list)
    lost: dict[str, list[bool]] = defaultdict(list)
    rules: Counter[str] = Counter()
    for number, row in enumerate(rows):
        gone = outcome[number]
        (caught[row.kind] if row.kind else lost[row.origin]).append(bool(gone))
        if gone and not row.kind:
            rules[gone] += 1
    good = sum(map(len, lost.values()))
    return {
        "junk_caught": _share([one for found in caught.values() for one in found]),
        "good_lost": _share([one for found in lost.values() for one in found]),
        "junk_rows": sum(map(len, caught.values())),
        "good_rows": good,
        "caught_by_kind": {make.__name__: _share(caught[make.__name__]) for make in KINDS},
        "lost_by_file": {name: _share(found) for name, found in lost.items()},
        "lost_by_rule": {rule: round(count / good, 4) for rule, count in rules.most_common()},
    }


def _share(flags: Sequence[bool]) -> float:
    return round(sum(flags) / max(len(flags), 1), 4)


def table(found: dict[str, Any]) -> str:
    """The figures as lines."""
    lines = [f"{'junk':<18}caught"]
    lines += [f"{kind:<18}{share:6.1%}" for kind, share in found["caught_by_kind"].items()]
    lines += [f"{'all':<18}{found['junk_caught']:6.1%}   of {found['junk_rows']:,}", "", f"{'good':<18}lost"]
    lines += [f"{name[:17]:<18}{share:6.1%}" for name, share in found["lost_by_file"].items()]
    lines += [f"  by {rule:<13}{share:6.1%}" for rule, share in found["lost_by_rule"].items()]
    return "\n".join([*lines, f"{'all':<18}{found['good_lost']:6.1%}   of {found['good_rows']:,}"])


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 rows")
    parser.add_argument("--rows", type=int, default=20_000, help="good rows, or all there are")
    parser.add_argument("--corpus", type=Path, nargs="*", default=SHIPPED, help="files of good rows")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of validate and curate")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    every = list(good_rows(given.corpus))
    test, rest = every[:HELD_OUT], every[HELD_OUT:]
    random.Random(given.seed).shuffle(rest)
    count = min(1000 if given.quick else given.rows, int(len(rest) / (1 + JUNK)))
    spare = rest[count : count + round(JUNK * count)]
    rows = plant(rest[:count], spare, given.seed)
    with tempfile.TemporaryDirectory() as folder:
        found = figures(rows, run(rows, test, given.set, Path(folder)))
    print(table(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
