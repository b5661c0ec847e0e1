"""What is wrong with files in real life: the good rows go on, the bad ones are named; a broken file is one line."""

from __future__ import annotations

import gzip
import io
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posttrain.data.files import lines, unpack
from posttrain.data.load import blocks, load, parse, read
from posttrain.data.look import look
from posttrain.errors import DataError
from posttrain.spec import Source

GOOD = '{"prompt": "ask", "completion": "tell"}'
COLUMNS = ("source", "prompt", "completion", "problem_rule", "problem")


def write(path: Path, content: bytes | str) -> Source:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Source(path=path.name)


def rows_of(source: Source, root: Path) -> pl.DataFrame:
    return pl.concat(read([source], root, "train"))


def refused(source: Source, root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load([source], root, "train")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "rule", "words"),
    [
        (b'{"prompt": "ask", "completion": "te', "schema", "invalid JSON (Unterminated string starting at column 33)"),
        (b'{"prompt": "ask"}', "schema", "no column completion (found prompt)"),
        (b'{"question": "ask", "completion": "x"}', "schema", "no column prompt (found question, completion)"),
        (b'{"prompt": "ask", "completion": ""}', "schema", "completion empty"),
        (b'{"prompt": null, "completion": " "}', "schema", "prompt and completion empty"),
        (b'["ask", "tell"]', "schema", "found JSON list, expected an object"),
        (b'"text"', "schema", "found JSON str, expected an object"),
        (b'{"prompt": "a", "prompt": "b", "completion": "c"}', "schema", "key 'prompt' stands there twice"),
        (b'{"prompt": "a\0b", "completion": "c"}', "schema", "invalid JSON (NUL byte at column 14)"),
        (b"\0\0\0\0\0\0\0\0", "schema", "invalid JSON (NUL byte at column 1)"),
        (b'{"prompt": ' + b"[" * 5000 + b"]" * 5000 + b"}", "schema",
         "JSON is nested deeper than 100 levels; flatten the row"),
        (b'{"prompt": ' + b"[" * 500 + b"]" * 500 + b', "completion": "c"}', "schema",
         "JSON is nested deeper than 100 levels; flatten the row"),
        ('{"prompt": "café", "completion": "c"}'.encode("latin-1"), "encoding", "byte 0xe9 at 16 is not utf-8"),
        ('{"prompt": "Ärger", "completion": "c'.encode("cp1252"), "encoding", "byte 0xc4 at 13 is not utf-8"),
    ],
)  # fmt: skip
def test_one_bad_line_among_good_ones_is_set_aside_with_its_text(
    tmp_path: Path, line: bytes, rule: str, words: str
) -> None:
    good = [GOOD.encode()] * 6
    rows = rows_of(write(tmp_path / "a.jsonl", b"\r\n".join([*good[:3], line, *good[3:]])), tmp_path)
    assert rows["problem_rule"].to_list() == ["", "", "", rule, "", "", ""]
    bad = rows.row(3, named=True)
    assert (bad["source"], bad["problem"]) == ("a.jsonl:4", words)
    if rule == "schema" and "empty" not in words:
        assert bad["prompt"] == line.decode()
    assert rows.filter(pl.col("problem") == "")["completion"].to_list() == ["tell"] * 6


def test_too_many_bad_lines_refuse_the_file_by_the_first_of_them(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", "\n".join([GOOD] * 7 + ["{broken"] * 2))
    assert refused(source, tmp_path) == (
        "a.jsonl:8: invalid JSON (Expecting property name enclosed in double quotes at column 2); 2 of 9 rows of "
        "a.jsonl cannot be read, expected at most 20%; mend or remove them, or see the source's format and columns in "
        "the spec"
    )
    assert (
        len(load([write(tmp_path / "a.jsonl", "\n".join([GOOD] * 8 + ["{broken"] * 2))], tmp_path, "train").rows) == 10
    )


def test_a_column_renamed_half_way_is_told_by_the_line_where_it_happens(tmp_path: Path) -> None:
    renamed = GOOD.replace("completion", "answer")
    found = refused(write(tmp_path / "a.jsonl", "\n".join([GOOD] * 300 + [renamed] * 200)), tmp_path)
    assert found.startswith("a.jsonl:301: no column completion (found prompt, answer); 200 of 500 rows of a.jsonl")


def test_values_that_are_no_texts_become_texts(tmp_path: Path) -> None:
    rows = (
        '{"prompt": 5, "completion": "x"}\n{"prompt": "a", "completion": true}\n{"prompt": "a", "completion": 1.50}\n'
    )
    found = rows_of(write(tmp_path / "a.jsonl", rows), tmp_path)
    assert list(zip(found["prompt"], found["completion"], strict=True)) == [("5", "x"), ("a", "true"), ("a", "1.5")]


def test_roles_that_are_no_texts_are_told_by_their_turn(tmp_path: Path) -> None:
    sound = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    odd = [sound[0], {"role": 1, "content": "b"}]
    text = "\n".join(json.dumps({"messages": turns}) for turns in [sound] * 5 + [odd])
    rows = rows_of(write(tmp_path / "a.jsonl", text), tmp_path)
    assert rows["problem"][5] == "role of turn 2 is 1, expected text such as user"
    assert json.loads(rows["prompt"][5]) == {"messages": odd}


# --- text files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + f"{GOOD}\n" * 3,
        f"{GOOD}\r\n" * 3,
        "\ufeff".join(f"{GOOD}\n" for _ in range(3)),  # files with marks, joined by `cat`
        f"\r\n{GOOD}\r\n\r\n{GOOD}\n{GOOD}",
    ],
)
def test_marks_and_line_ends_are_no_fault(tmp_path: Path, content: str) -> None:
    rows = rows_of(write(tmp_path / "a.jsonl", content), tmp_path)
    assert rows["completion"].to_list() == ["tell"] * 3
    assert set(rows["problem"]) == {""}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_csv_with_ragged_and_undecodable_records_keeps_the_others(tmp_path: Path, ending: str) -> None:
    records = ["prompt,completion", *["a,b"] * 12, "a,b,c", "only", "caf\xe9,b", '"a\nb",c']
    rows = rows_of(write(tmp_path / "a.csv", ending.join(records).encode("latin-1")), tmp_path)
    wrong = rows.filter(pl.col("problem") != "").select("source", "problem_rule", "problem", "prompt").rows()
    assert wrong == [
        (
            "a.csv:14",
            "schema",
            'found 3 columns, expected 2; put fields that hold commas in "quotes"',
            '["a", "b", "c"]',
        ),
        ("a.csv:15", "schema", 'found 1 columns, expected 2; put fields that hold commas in "quotes"', '["only"]'),
        ("a.csv:16", "encoding", "byte 0xe9 at 4 is not utf-8", "caf\ufffd"),
    ]
    assert rows.row(-1)[1:4] == ("a.csv:17", "", "a\nb")


def test_a_csv_whose_header_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    found = refused(write(tmp_path / "a.csv", "prompt,completion,prompt\na,b,c\n"), tmp_path)
    assert found == "a.csv:1: column 'prompt' stands there twice, expected each once; rename one"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"prompt": "a"}, 3]', "a.json: item 2 is JSON number, expected an object"),
        ('["a"]', "a.json: item 1 is JSON str, expected an object"),
        (f"[{GOOD},\n{GOOD}", "a.json:2: invalid JSON (the array is cut short after 2 items), expected ]; fetch"),
        (f'[{GOOD},\n{{"prompt": "a', "a.json:1: invalid JSON (the array is cut short after 1 items)"),
        (f"[{GOOD},\nnull]", "a.json:2: invalid JSON (found 'null' between items)"),
    ],
)
def test_a_broken_array_is_refused_by_item_or_line(tmp_path: Path, content: str, expected: str) -> None:
    assert refused(write(tmp_path / "a.json", content), tmp_path).startswith(expected)


def test_an_item_that_is_no_json_is_set_aside(tmp_path: Path) -> None:
    items = [GOOD] * 5 + ['{"prompt": oops}'] + [GOOD]
    rows = rows_of(write(tmp_path / "a.json", f"[{', '.join(items)}]"), tmp_path)
    assert rows.row(5)[1:4] == ("a.json:6", "", '{"prompt": oops}')
    assert rows["problem"][5] == "invalid JSON (Expecting value at column 12)"


# --- packed and large ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_file_cut_short_says_how_far_it_is_whole(tmp_path: Path, packing: str) -> None:
    plain = "".join(
        f'{{"prompt": "ask {n * 7919 % 10007}", "completion": "tell {n}"}}\n' for n in range(40_000)
    ).encode()
    packed = gzip.compress(plain) if packing == "gz" else pa.Codec("zstd").compress(plain, asbytes=True)
    found = refused(write(tmp_path / f"a.jsonl.{packing}", packed[: len(packed) // 2]), tmp_path)
    assert found.startswith(f"a.jsonl.{packing}: broken {'gzip' if packing == 'gz' else 'Zstandard'} (")
    assert "expected a whole file; fetch it again (read so far: " in found
    told = int(found.rpartition("read so far: ")[2].split()[0].replace(",", ""))
    assert 1000 < told < 40_000
    look(Source(path=f"a.jsonl.{packing}"), tmp_path)  # the head is sound


def test_a_zip_bomb_is_left_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "FREE", 1024**2)
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as packed:
        packed.write(f"{GOOD}\n".encode() * 100)
        for _ in range(40):
            packed.write(b" " * 1024**2)
    found = refused(write(tmp_path / "a.jsonl.gz", bomb.getvalue()), tmp_path)
    assert found.startswith("a.jsonl.gz: unpacks to more than 200 times its size, as a zip bomb does; if it is sound,")


def test_a_file_without_end_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MAX_UNPACKED", 1000)
    found = refused(write(tmp_path / "a.jsonl", f"{GOOD}\n" * 100), tmp_path)
    assert found.startswith("a.jsonl: is larger than 1,000 bytes; split it into several files")


def test_a_line_of_50_megabytes_is_left_out_in_little_memory(tmp_path: Path) -> None:
    huge = b'{"prompt": "' + b"x" * 50_000_000 + b'"}\n'
    source = write(tmp_path / "a.jsonl", f"{GOOD}\n".encode() * 4 + huge + f"{GOOD}\n".encode() * 3)
    del huge
    tracemalloc.start()
    rows = rows_of(source, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000  # less than the line
    assert rows["problem"].to_list().count("") == 7
    bad = rows.row(4, named=True)
    assert bad["source"] == "a.jsonl:5"
    assert bad["problem"] == "line of 50,000,014 bytes, expected at most 16,777,216; split or remove it"
    assert bad["prompt"].startswith('{"prompt": "xxx')
    assert rows["source"].to_list()[-1] == "a.jsonl:8"


def test_a_file_that_is_one_line_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_ROW", 1000)
    for name, content in (("a.jsonl", "x" * 5000), ("a.csv", "x" * 5000), ("a.json", f'[{{"a": "{"x" * 5000}')):
        found = refused(write(tmp_path / name, content), tmp_path)
        assert found.startswith(f"{name}:1: "), found
        assert "1,000" in found or "16,777,216" in found or "cut short" in found


# --- tables --------------------------------------------------------------------------------------------------


def test_an_arrow_file_cut_short_is_refused(tmp_path: Path) -> None:
    table = pa.table({"prompt": ["ask"] * 1000, "completion": ["tell"] * 1000})
    whole, streamed = io.BytesIO(), io.BytesIO()
    with pa.ipc.new_file(whole, table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(streamed, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    found = refused(write(tmp_path / "a.arrow", whole.getvalue()[:-200]), tmp_path)
    assert found.startswith("a.arrow: cannot be read as Arrow (")
    found = refused(write(tmp_path / "b.arrow", streamed.getvalue()[:-500]), tmp_path)
    assert found.startswith("b.arrow: cannot be read as Arrow stream (")
    assert "after 900 whole rows, expected a whole file" in found


def test_a_parquet_file_cut_short_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["ask"] * 1000, "completion": ["tell"] * 1000}), tmp_path / "whole.parquet")
    cut = (tmp_path / "whole.parquet").read_bytes()[:-100]
    assert refused(write(tmp_path / "a.parquet", cut), tmp_path).startswith("a.parquet: cannot be read as Parquet (")


def test_texts_in_arrow_that_are_no_utf_8_are_read_with_marks(tmp_path: Path) -> None:
    wrong = pa.array([b"caf\xe9", b"x"]).view(pa.string())
    batch = pa.record_batch({"prompt": wrong, "completion": pa.array(["a", "b"])})
    with pa.ipc.new_file(tmp_path / "a.arrow", batch.schema) as writer:
        writer.write_batch(batch)
    assert rows_of(Source(path="a.arrow"), tmp_path)["prompt"].to_list() == ["caf\ufffd", "x"]


def folder_of(root: Path, names: dict[str, list[dict[str, Any]]]) -> Source:
    for name, rows in names.items():
        path = root / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path)
    return Source(path="set")


def test_a_second_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    source = folder_of(
        tmp_path, {"1.parquet": [{"prompt": "a", "completion": "b"}], "2.parquet": [{"prompt": "a", "answer": "b"}]}
    )
    assert refused(source, tmp_path) == (
        "set/2.parquet: found columns prompt, answer, expected completion as in set/1.parquet; name files of different "
        "columns as separate sources, or rename the columns"
    )


def test_a_second_file_of_another_type_is_read_all_the_same(tmp_path: Path) -> None:
    source = folder_of(
        tmp_path, {"1.parquet": [{"prompt": "a", "completion": "b"}], "2.parquet": [{"prompt": "a", "completion": 5}]}
    )
    assert rows_of(source, tmp_path)["completion"].to_list() == ["b", "5"]


@pytest.fixture
def outside(tmp_path: Path) -> tuple[Path, Path]:
    secret = tmp_path / "secret.jsonl"
    secret.write_text(GOOD)
    (tmp_path / "project" / "set" / "inner").mkdir(parents=True)
    (tmp_path / "project" / "set" / "a.jsonl").write_text(GOOD)
    return tmp_path / "project", secret


@pytest.mark.parametrize("link", ["b.jsonl", "inner/b.jsonl", "folder"])
def test_a_link_out_of_a_data_folder_is_refused(outside: tuple[Path, Path], link: str) -> None:
    root, secret = outside
    (root / "set" / link).symlink_to(secret.parent if link == "folder" else secret)
    assert refused(Source(path="set"), root) == (
        f"set/{link}: a link that leads out of the folder, expected files that lie in it; copy the file here, or name "
        "it in the spec by itself"
    )


def test_a_link_within_a_data_folder_is_read(outside: tuple[Path, Path]) -> None:
    root, _ = outside
    (root / "set" / "b.jsonl").symlink_to(root / "set" / "a.jsonl")
    assert rows_of(Source(path="set"), root)["source"].to_list() == ["set/a.jsonl:1", "set/b.jsonl:1"]


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    assert refused(Source(path="a.jsonl"), tmp_path).startswith("a.jsonl: is neither a file nor a folder")


def test_problems_stay_with_their_rows_through_blocks(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", "\n".join([GOOD, "{broken", GOOD]))
    block = next(blocks([source], tmp_path, "train"))
    assert parse(block).select(COLUMNS).row(1)[:2] == ("a.jsonl:2", "{broken")
