"""Files that users really have: each reads, or is refused in one line that names place and remedy."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
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


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda raw: pa.Codec("zstd").compress(raw, asbytes=True),
}


def written(kind: str, rows: list[dict[str, str]]) -> bytes:
    """The rows as the bytes of a file of this kind."""
    table, sink = pa.Table.from_pylist(rows), io.BytesIO()
    match kind:
        case "json":
            return json.dumps(rows, indent=1).encode()
        case "csv":
            return 'completion,prompt\r\n1,"naïve, “x”?\nyes"\r\n2,b\r\n'.encode()
        case "tsv":
            return 'completion\tprompt\n1\t"naïve, “x”?\nyes"\n2\tb\n'.encode()
        case "parquet":
            pq.write_table(table, sink)
        case "feather":
            feather.write_feather(table, sink)
        case "arrow":
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        case _:
            return ("\n".join(json.dumps(row) for row in rows) + "\n\n").encode()
    return sink.getvalue()


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv", "parquet", "feather", "arrow"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, kind: str, packed: str) -> None:
    rows = [{"prompt": "naïve, “x”?\nyes", "completion": "1"}, {"prompt": "b", "completion": "2"}]
    name = f"a.{kind}{packed}"
    (tmp_path / name).write_bytes(PACKERS[packed](written(kind, rows)))
    loaded = load([Source(path=name)], tmp_path, "train")
    assert [(row["prompt"], row["completion"]) for row in loaded.rows] == [("naïve, “x”?\nyes", "1"), ("b", "2")]
    assert not loaded.problems
    assert all(row["source"].startswith(f"{name}:") for row in loaded.rows)


@pytest.mark.parametrize("name", ["download", "a.jsonl", "a.parquet", "a.csv.gz"])
def test_what_a_file_is_shows_in_its_content_not_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(written("parquet", [{"prompt": "ask", "completion": "tell"}]))
    assert load([Source(path=name)], tmp_path, "train").rows[0]["completion"] == "tell"
    (tmp_path / "packed").write_bytes(gzip.compress(ROW.encode()))
    assert load([Source(path="packed")], tmp_path, "train").rows[0]["completion"] == "tell"


def test_semicolons_separate_where_there_are_no_commas(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('prompt;completion\n"a; b";c\n')
    assert load([Source(path="a.csv")], tmp_path, "train").rows[0]["prompt"] == "a; b"


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
        ("a.jsonl.gz", gzip.compress(ROW.encode() * 50, mtime=0)[:-12], "a.jsonl.gz: broken gzip"),
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
    (tmp_path / "empty").mkdir()
    assert "empty: the folder holds no data file" in refused(tmp_path, "empty")


def test_an_unknown_encoding_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(ROW)
    assert refused(tmp_path, Source(path="a.jsonl", encoding="utf8mb4")).startswith("data.train[0].encoding: found")


def test_a_missing_column_shows_the_columns_and_the_line_to_write(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"utterance": "1+1?", "target": "2"}\n')
    text = refused(tmp_path, "a.jsonl")
    assert text.startswith("a.jsonl:1: found columns utterance, target")
    assert text.endswith("set data.train[0].prompt: utterance and data.train[0].completion: target")
    named = Source(path="a.jsonl", prompt="utterance", completion="target")
    assert load([named], tmp_path, "train").rows[0]["completion"] == "2"
    assert "set data.train[0].prompt: utterance" in refused(tmp_path, Source(path="a.jsonl", completion="target"))


def test_plain_text_is_sent_where_it_belongs(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "It rained all day. We left."}\n')
    assert refused(tmp_path, "a.jsonl").endswith(
        "plain text belongs into data.general; or set data.train[0].format: text to have its first sentence continued"
    )
    for source, split in ((Source(path="a.jsonl"), "general"), (Source(path="a.jsonl", format="text"), "train")):
        assert load([source], tmp_path, split).rows[0]["completion"] == "We left."


def test_a_column_kept_or_named_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "completion": "b", "topic": 3}\n')
    assert load([Source(path="a.jsonl", keep=["topic"])], tmp_path, "train").rows[0]["topic"] == "3"
    assert "set data.train[0].keep: topic" in refused(tmp_path, Source(path="a.jsonl", keep=["topics"]))
    assert "set data.train[0].prompt: <column>" in refused(tmp_path, Source(path="a.jsonl", prompt="ask"))
    assert "set data.train[0].system: <column>" in refused(tmp_path, Source(path="a.jsonl", system="persona"))
    assert refused(tmp_path, Source(path="a.jsonl", format="prompt_completion", chosen="good")) == (
        "data.train[0].chosen: found 'good', which rows of format prompt_completion have no use for, expected prompt, "
        "completion; remove it or set data.train[0].format"
    )
    assert "data.train[0].keep: prompt is a column of ours" in refused(
        tmp_path, Source(path="a.jsonl", keep=["prompt"])
    )


def test_a_look_reads_the_head_only_and_knows_the_rows_of_a_small_file(tmp_path: Path) -> None:
    (tmp_path / "small.jsonl").write_text(ROW * 5)
    (tmp_path / "large.jsonl").write_text(ROW * 20_000 + "broken")
    assert look(Source(path="large.jsonl"), tmp_path, count=True).rows == 20_001
    small = look(Source(path="small.jsonl"), tmp_path)
    assert (small.format, small.rows, small.columns) == ("prompt_completion", 5, ("prompt", "completion"))
    assert small.example["prompt"] == "ask"
    assert look(Source(path="large.jsonl"), tmp_path).rows is None


def test_a_look_refuses_rows_that_are_no_labels_of_the_task(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(ROW * 5)
    with pytest.raises(DataError, match=r"a\.jsonl:1: completion 'tell' is not JSON .* set task\.kind: text"):
        look(Source(path="a.jsonl"), tmp_path, TaskSpec(kind="intent_slots"))
    assert look(Source(path="a.jsonl"), tmp_path, TaskSpec(kind="text")).rows == 5
