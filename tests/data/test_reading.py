"""Reading in pieces: blocks are cheap and pickle, parsing is pure, and how a file was cut never shows in the rows."""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posttrain.data import files
from posttrain.data.files import Chunk, origins
from posttrain.data.files.chunks import Lines
from posttrain.data.load import Block, blocks, parse, read, row_kind
from posttrain.errors import DataError
from posttrain.spec import Source


def rows_of(count: int) -> list[dict[str, Any]]:
    return [
        {"prompt": f"what is {n}?\n“é”", "completion": f'a "number": {n} \\ {{[' + "x" * (n % 97)} for n in range(count)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Source:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return Source(path=path.name)


def frame(source: Source, root: Path, split: str = "train") -> pl.DataFrame:
    return pl.concat(read([source], root, split))


def test_a_batch_is_text_and_nothing_is_null(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [{"prompt": "a", "completion": None}, *rows_of(9)])
    rows = frame(source, tmp_path)
    assert set(rows.schema.values()) == {pl.String}
    assert rows.null_count().sum_horizontal().item() == 0
    assert rows.columns == ["id", "source", "system", "prompt", "completion", "problem_rule", "problem"]
    assert rows["id"][0] == hashlib.sha256(b"a.jsonl:1").hexdigest()[:16]
    assert rows.row(0)[-2:] == ("schema", "completion empty")


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "arrow"])
@pytest.mark.parametrize("size", [13, 200, 4 * 1024**2])
def test_how_a_file_is_cut_does_not_show(tmp_path: Path, kind: str, size: int) -> None:
    rows = rows_of(60)
    path = tmp_path / f"a.{kind}"
    table = pa.Table.from_pylist(rows)
    match kind:
        case "jsonl":
            write(path, rows)
        case "json":
            path.write_text(json.dumps(rows, indent=2))
        case "csv":
            pl.DataFrame(rows).write_csv(path)
        case "parquet":
            pq.write_table(table, path, row_group_size=7)
        case "arrow":
            with pa.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table, max_chunksize=7)
    (origin,) = origins(Source(path=path.name), tmp_path, "data.train[0]")
    parsed = [chunk.parse() for chunk in files.chunks(origin, size=size)]
    assert [row for part in parsed for row in part.rows] == rows
    numbers = [number for part in parsed for number in part.numbers]
    expected = {"jsonl": range(1, 61), "csv": range(2, 122, 2)}  # the prompts of the CSV span two lines
    assert numbers == list(expected.get(kind, range(1, 61)))
    assert not any(part.faults for part in parsed)
    assert sum(map(len, files.chunks(origin, size=size))) == 60


def test_blocks_travel_and_parse_alike_anywhere(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows_of(500)), tmp_path / "b.parquet")
    sources = [write(tmp_path / "a.jsonl", rows_of(500)), Source(path="b.parquet")]
    here = [parse(block) for block in blocks(sources, tmp_path, "train")]
    there = [parse(pickle.loads(pickle.dumps(block))) for block in blocks(sources, tmp_path, "train")]
    assert pl.concat(here).equals(pl.concat(there))


def test_a_slice_of_a_large_batch_travels_without_the_rest(tmp_path: Path) -> None:
    with pa.ipc.new_file(
        tmp_path / "a.arrow", (schema := pa.table({"prompt": ["x"], "completion": ["y"]})).schema
    ) as out:
        out.write_batch(pa.record_batch({"prompt": ["p" * 1000] * 30_000, "completion": ["c"] * 30_000}, schema.schema))
    sizes = [len(pickle.dumps(block)) for block in blocks([Source(path="a.arrow")], tmp_path, "train")]
    assert len(sizes) > 5
    assert max(sizes) < 5_000_000


def test_reading_takes_no_more_than_it_is_asked_for(tmp_path: Path) -> None:
    """The first block comes before the file's end is read: what is broken there has not shown yet."""
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows_of(50_000)).encode(), 1)
    (tmp_path / "a.jsonl.gz").write_bytes(packed[:-100])
    found = blocks([Source(path="a.jsonl.gz")], tmp_path, "train")
    assert parse(next(found)).height > 1000
    with pytest.raises(DataError, match="broken gzip"):
        list(found)


def test_only_the_columns_that_are_read_leave_a_table(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{**row, "vector": [0.5] * 10} for row in rows_of(5)]), tmp_path / "a.parquet")
    (block,) = blocks([Source(path="a.parquet")], tmp_path, "train")
    assert isinstance(block, Block)
    assert not isinstance(block.content, pl.DataFrame)
    assert set(block.content.parse().rows[0]) == {"prompt", "completion"}


def test_arrow_columns_of_texts_and_rows_one_by_one_agree(tmp_path: Path) -> None:
    """The quick way for text columns, and the slow one that a list of turns in one row forces on its batch."""
    rows = [{"prompt": "p", "completion": None, "n": "1"}, {"prompt": " ", "completion": "c", "n": None}]
    plain, mixed = tmp_path / "a.parquet", tmp_path / "b.parquet"
    turns = {"prompt": '[{"role": "user", "content": "q"}]', "completion": "c", "n": ""}
    pq.write_table(pa.Table.from_pylist(rows), plain)
    pq.write_table(pa.Table.from_pylist([*rows, turns]), mixed)
    quick, slow = (
        pl.concat(map(parse, blocks([Source(path=path.name, keep="n")], tmp_path, "train"))).drop("id", "source")
        for path in (plain, mixed)
    )
    assert slow.head(2).equals(quick)
    assert quick["problem"].to_list() == ["completion empty", "prompt empty"]
    assert slow["prompt"][2] == "q"


# --- kinds of rows -------------------------------------------------------------------------------------------

TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
KINDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "prompt_completion": ({"prompt": "a", "completion": "b"}, ("completion",)),
    "messages": ({"messages": TURNS}, ("completion", "messages")),
    "preference": ({"prompt": "a", "chosen": "b", "rejected": "c"}, ("chosen", "rejected")),
    "unpaired": ({"prompt": "a", "completion": "b", "label": True}, ("completion", "label")),
    "rating": ({"prompt": "a", "completion": "b", "ratings": [4, 5]}, ("completion", "ratings")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_has_a_kind_and_its_columns(tmp_path: Path, kind: str) -> None:
    row, columns = KINDS[kind]
    source = write(tmp_path / "a.jsonl", [row, row])
    assert row_kind([source], tmp_path, "train") == kind
    found = frame(source, tmp_path)
    assert tuple(found.columns) == ("id", "source", "system", "prompt", *columns, "problem_rule", "problem")
    assert found["problem"].to_list() == ["", ""]


def test_a_ranking_is_a_pair_for_every_two_answers_of_different_rank(tmp_path: Path) -> None:
    """Ranks 2, 1, 3 and 2: of six comparisons one is a tie. Farthest apart first: 1 against 3; then in order."""
    row = {"prompt": "p", "answers": ["b", "a", "d", "c"], "ranks": [2, 1, 3, 2]}
    tied = {**row, "ranks": [1, 1, 1, 1]}
    source = write(tmp_path / "a.jsonl", [row, tied])
    assert row_kind([source], tmp_path, "preference") == "preference"
    found = frame(source, tmp_path)
    assert list(zip(found["chosen"], found["rejected"], strict=True))[:5] == [
        ("a", "d"), ("b", "d"), ("a", "b"), ("a", "c"), ("c", "d"),
    ]  # fmt: skip
    assert [place.rpartition(":")[2] for place in found["source"]] == ["1.1", "1.2", "1.3", "1.4", "1.5", "2"]
    assert found["id"].n_unique() == 6
    assert found["problem"].to_list() == [""] * 5 + ["all answers have one rank, expected one to be better"]


def test_conversations_and_plain_pairs_go_together_as_conversations(tmp_path: Path) -> None:
    sources = [
        write(tmp_path / "a.jsonl", [{"prompt": "a", "completion": "b", "system": "s"}]),
        write(tmp_path / "b.jsonl", [KINDS["messages"][0]]),
    ]
    assert row_kind(sources, tmp_path, "train") == "messages"
    rows = pl.concat(read(sources, tmp_path, "train"))
    assert [json.loads(text) for text in rows["messages"]] == [[{"role": "system", "content": "s"}, *TURNS], TURNS]


def test_other_kinds_do_not_go_together(tmp_path: Path) -> None:
    sources = [write(tmp_path / f"{kind}.jsonl", [KINDS[kind][0]]) for kind in ("messages", "preference")]
    with pytest.raises(DataError) as caught:
        list(blocks(sources, tmp_path, "train"))
    assert str(caught.value) == (
        "data.train: messages.jsonl holds messages rows and preference.jsonl preference rows, expected one kind; "
        "leave one out, or set data.train[1].format"
    )


def test_ratings_one_a_line_become_one_row_wherever_the_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [{"prompt": f"q{n // 3}", "completion": "a", "annotator": "xyz"[n % 3], "rating": n % 5} for n in range(30)]
    source = write(tmp_path / "a.jsonl", lines)
    whole = frame(source, tmp_path)
    assert whole["source"].to_list() == [f"a.jsonl:{n}" for n in range(1, 31, 3)]
    assert whole["ratings"][1] == (
        '[{"annotator":"x","rating":3},{"annotator":"y","rating":4},{"annotator":"z","rating":0}]'
    )
    for size in (1, 200, 700):
        monkeypatch.setattr(files.chunks, "__defaults__", (None, size))
        assert frame(source, tmp_path).equals(whole)


def test_a_line_without_a_rating_stays_a_row_of_its_own(tmp_path: Path) -> None:
    lines = [{"prompt": "q", "completion": "a", "annotator": name, "rating": 3} for name in "abcdefgh"]
    lines[4]["rating"] = "fine"
    found = pl.concat(map(parse, blocks([write(tmp_path / "a.jsonl", lines)], tmp_path, "train")))
    assert found["problem"].to_list() == ["", "rating of e is text 'fine', expected a number", ""]
    assert [len(json.loads(text or "[]")) for text in found["ratings"]] == [4, 0, 3]


# --- JSON that needs care ------------------------------------------------------------------------------------


def lines(*texts: str) -> Chunk:
    return Lines(1, "\n".join(texts).encode(), "utf-8")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 12345678901234567890123}', 12345678901234567890123),
        ('{"a": -9223372036854775809}', -9223372036854775809),
        ('{"a": [1e308]}', [1e308]),
        ('{"a": "\\ud83c"}', "\ufffd"),
        ('{"a": ["\\ud83d\\ude00"]}', ["😀"]),
        ('{"a": ":b"}', ":b"),
        ('{"a": "say \\":\\" twice \\":"}', 'say ":" twice ":'),
        ('{"a\\\\": 1, "a": 2}', 2),
        ('{"a" : {"a": 1, "b" : {"a": 2}}}', {"a": 1, "b": {"a": 2}}),
        ('{"a": Infinity}', float("inf")),
        ('\ufeff{"a": 1}', 1),
        ('{"a": 1}\r', 1),
    ],
)
def test_sound_json_is_read_exactly(text: str, value: Any) -> None:
    parsed = lines('{"a": 0}', text, '{"a": 0}').parse()
    assert not parsed.faults
    assert [row["a"] for row in parsed.rows] == [0, value, 0]


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a" : 1, "a" : 2}',
        '{"a": {"b": 1, "b": 2}}',
        '{"a": "\\":", "a": ":x"}',
        '{"a": [{"b": 1, "b": 1}]}',
    ],
)
def test_a_key_given_twice_is_found_wherever_it_is(text: str) -> None:
    parsed = lines('{"a": 0}', text, '{"a": "\\":"}').parse()
    assert list(parsed.faults) == [1]
    assert parsed.faults[1].words in ("key 'a' stands there twice", "key 'b' stands there twice")
    assert parsed.faults[1].raw == text


def test_blank_lines_are_no_rows_but_count_as_lines() -> None:
    parsed = lines("", '{"a": 1}', "  ", "\r", '{"a": 2}', "").parse()
    assert list(parsed.numbers) == [2, 5]
    assert parsed.rows == [{"a": 1}, {"a": 2}]
