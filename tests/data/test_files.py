"""Files that users really have: each reads, or is refused in one line that names place and remedy."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posttrain.data.load import load
from posttrain.data.look import look
from posttrain.errors import DataError
from posttrain.spec import Source, TaskSpec

ROW = '{"prompt": "ask", "completion": "tell"}\n'


def refused(root: Path, source: Source | str) -> str:
    with pytest.raises(DataError) as caught:
        load([Source(path=source) if isinstance(source, str) else source], root, "train")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.csv.gz", "a.parquet"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    rows = [{"prompt": "naïve, “x”?\nyes", "completion": "1"}, {"prompt": "b", "completion": "2"}]
    path = tmp_path / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        text = {
            "a.json": json.dumps(rows, indent=1),
            "a.csv": 'completion,prompt\r\n1,"naïve, “x”?\nyes"\r\n2,b\r\n',
        }.get(name.removesuffix(".gz"), "\n".join(json.dumps(row) for row in rows) + "\n\n")
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    loaded = load([Source(path=name)], tmp_path, "train")
    assert [(row["prompt"], row["completion"]) for row in loaded.rows] == [("naïve, “x”?\nyes", "1"), ("b", "2")]
    assert not loaded.problems
    assert all(row["source"].startswith(f"{name}:") for row in loaded.rows)


def test_a_row_names_its_line_and_keeps_its_id(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(ROW + "\n" + ROW)
    first, second = load([Source(path="a.jsonl")], tmp_path, "train").rows
    assert (first["source"], second["source"]) == ("a.jsonl:1", "a.jsonl:3")
    assert first["id"] != second["id"]
    assert load([Source(path="a.jsonl")], tmp_path, "test").rows[1]["id"] == second["id"]


def test_one_undecodable_line_is_a_row_with_a_problem(tmp_path: Path) -> None:
    wrong = '{"prompt": "Faerûn", "completion": "x"}\n'.encode("latin-1")
    (tmp_path / "a.jsonl").write_bytes(ROW.encode() * 9 + wrong)
    loaded = load([Source(path="a.jsonl")], tmp_path, "train")
    assert loaded.rows[9]["prompt"] == "Faer\ufffdn"
    assert list(loaded.problems) == [loaded.rows[9]["id"]]
    assert loaded.problems[loaded.rows[9]["id"]].value == "byte 0xfb at 17 is not utf-8"


def test_an_undecodable_line_of_csv_and_of_an_array_is_a_problem_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"prompt,completion\n" + b"a,b\n" * 9 + b"caf\xe9,x\n")
    items = b",\n".join([b'{"prompt": "a", "completion": "b"}'] * 9 + [b'{"prompt": "caf\xe9", "completion": "b"}'])
    (tmp_path / "a.json").write_bytes(b"[" + items + b"]")
    for name in ("a.csv", "a.json"):
        loaded = load([Source(path=name)], tmp_path, "train")
        assert list(loaded.problems) == [loaded.rows[9]["id"]], name


def test_a_file_in_another_encoding_is_refused_and_reads_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(ROW.replace("ask", "façade").encode("cp1252") * 3)
    text = refused(tmp_path, "a.jsonl")
    assert text.startswith("a.jsonl:1: found byte 0xe7")
    assert "data.train[0].encoding" in text
    assert "cp1252" in text
    assert load([Source(path="a.jsonl", encoding="cp1252")], tmp_path, "train").rows[0]["prompt"] == "façade"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_recognised(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.jsonl").write_bytes((ROW * 3).encode(encoding))
    assert f"(perhaps {encoding})" in refused(tmp_path, "a.jsonl")
    assert len(load([Source(path="a.jsonl", encoding=encoding)], tmp_path, "train").rows) == 3


def test_a_byte_order_mark_of_utf_8_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(ROW.encode("utf-8-sig"))
    assert load([Source(path="a.jsonl")], tmp_path, "train").rows[0]["prompt"] == "ask"


def test_lone_surrogates_do_not_reach_the_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a\\ud83c", "completion": "x"}\n')
    assert load([Source(path="a.jsonl")], tmp_path, "train").rows[0]["prompt"] == "a\ufffd"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", b"", "a.jsonl: the file is empty"),
        ("a.jsonl", b" \n\n", "a.jsonl: the file is empty"),
        ("a.csv", b"prompt,completion\n", "a.csv: has no rows"),
        ("a.json", b"[]", "a.json: has no rows"),
        (
            "a.jsonl",
            ROW.encode() + b'{"prompt": "a"\n',
            "a.jsonl:2: invalid JSON (Expecting ',' delimiter at column 15)",
        ),
        ("a.json", b'[{"prompt": 1},\n\n oops]', "a.json:3: invalid JSON"),
        ("a.jsonl", ROW.encode() + b'"text"\n', "a.jsonl:2: found JSON str, expected an object"),
        ("a.csv", b"prompt,completion\na,b\na,b,c\n", "a.csv:3: found 3 columns, expected 2"),
        ("a.csv", b'prompt,completion\n"a,b\n', "a.csv:2: not CSV"),
        ("a.jsonl.gz", gzip.compress(ROW.encode() * 50)[:-12], "a.jsonl.gz: broken gzip"),
        ("a.parquet", b"not parquet", "a.parquet: cannot be read as Parquet"),
        ("a.xlsx", b"x", "a.xlsx: file type .xlsx is not known"),
    ],
)
def test_a_broken_file_is_refused_by_place_and_fault(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert refused(tmp_path, name).startswith(expected)


def test_a_missing_file_and_a_folder_name_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(ROW)
    assert "did you mean train.jsonl?" in refused(tmp_path, "trian.jsonl")
    assert "is a folder, expected a file" in refused(tmp_path, ".")


def test_an_unknown_encoding_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(ROW)
    assert refused(tmp_path, Source(path="a.jsonl", encoding="utf8mb4")).startswith("data.train[0].encoding: found")


def test_a_missing_column_shows_the_columns_and_the_line_to_write(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    text = refused(tmp_path, "a.jsonl")
    assert text.startswith("a.jsonl:1: found columns question, answer")
    assert text.endswith("set data.train[0].prompt: question and data.train[0].completion: answer")
    named = Source(path="a.jsonl", prompt="question", completion="answer")
    assert load([named], tmp_path, "train").rows[0]["completion"] == "2"
    assert "data.train[0].completion: answer" in refused(tmp_path, Source(path="a.jsonl", prompt="question"))


def test_a_look_reads_the_head_only_and_knows_the_rows_of_a_small_file(tmp_path: Path) -> None:
    (tmp_path / "small.jsonl").write_text(ROW * 5)
    (tmp_path / "large.jsonl").write_text(ROW * 20_000 + "broken")
    small = look(Source(path="small.jsonl"), tmp_path)
    assert (small.format, small.rows, small.columns) == ("prompt_completion", 5, ("prompt", "completion"))
    assert small.example["prompt"] == "ask"
    assert look(Source(path="large.jsonl"), tmp_path).rows is None


def test_a_look_refuses_rows_that_are_no_labels_of_the_task(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(ROW * 5)
    with pytest.raises(DataError, match=r"a\.jsonl:1: completion 'tell' is not JSON .* set task\.kind: text"):
        look(Source(path="a.jsonl"), tmp_path, TaskSpec(kind="intent_slots"))
    assert look(Source(path="a.jsonl"), tmp_path, TaskSpec(kind="text")).rows == 5
