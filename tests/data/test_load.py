"""Where sources lie: folders, their splits, addresses; what their digests follow; which remedy a message names."""

from __future__ import annotations

import gzip
import http.server
import io
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posttrain.data.files import origins, splits
from posttrain.data.load import digests, kept_columns, load, row_id
from posttrain.data.look import look, preflight
from posttrain.data.sources import reading, settings
from posttrain.errors import DataError
from posttrain.spec import DataSpec, Source, TaskSpec

ROW = '{"prompt": "ask", "completion": "tell"}\n'


def refused(source: Source, root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load([source], root, "train")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def places(source: Source, root: Path) -> list[str]:
    return [row["source"] for row in load([source], root, "train").rows]


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(ROW)


# --- folders -------------------------------------------------------------------------------------------------


def test_a_folder_is_its_data_files_in_order_of_name(tmp_path: Path) -> None:
    make(tmp_path, "set/b.jsonl", "set/a.jsonl", "set/in/c.ndjson", "set/.cache/d.jsonl", "set/README.md")
    make(tmp_path, "set/dataset_info.json", "set/.hidden.jsonl")
    assert places(Source(path="set"), tmp_path) == ["set/a.jsonl:1", "set/b.jsonl:1", "set/in/c.ndjson:1"]


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl", "test-00000-of-00001.jsonl"),
        ("data/train-00000.jsonl", "data/train-00001.jsonl", "data/test.jsonl"),
        ("train/0.jsonl", "train/1.jsonl", "test/0.jsonl"),
        ("songs_train_a.jsonl", "songs_train_b.jsonl", "songs_test.jsonl"),
    ],
)
def test_of_a_folder_with_splits_one_must_be_named(tmp_path: Path, names: tuple[str, ...]) -> None:
    make(tmp_path, *(f"set/{name}" for name in names))
    assert refused(Source(path="set"), tmp_path) == (
        "set: holds the splits test, train; set data.train[0].split to one of them"
    )
    assert places(Source(path="set", split="train"), tmp_path) == [f"set/{name}:1" for name in names[:2]]
    assert refused(Source(path="set", split="dev"), tmp_path) == (
        "set: found the splits test, train, expected dev; correct data.train[0].split"
    )
    assert splits(Source(path="set"), tmp_path, "x") == ["test", "train"]


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    """Laid out as `save_to_disk` does: streams of Arrow, the list of them, and caches beside them."""
    table = pa.table({"prompt": ["a", "b"], "completion": ["1", "2"]})
    (tmp_path / "set").mkdir()
    for number, name in enumerate(["data-00000-of-00002.arrow", "data-00001-of-00002.arrow", "cache-abc.arrow"]):
        with pa.ipc.new_stream(tmp_path / "set" / name, table.schema) as writer:
            writer.write_table(table.slice(number % 2, 1))
    names = [{"filename": f"data-0000{n}-of-00002.arrow"} for n in range(2)]
    (tmp_path / "set" / "state.json").write_text(json.dumps({"_data_files": names}))
    (tmp_path / "set" / "dataset_info.json").write_text("{}")
    rows = load([Source(path="set")], tmp_path, "train").rows
    assert [row["completion"] for row in rows] == ["1", "2"]


def test_a_key_of_folders_and_of_the_hub_is_refused_for_a_file(tmp_path: Path, bucket: Any) -> None:
    make(tmp_path, "a.jsonl", "set/b.jsonl")
    bucket.pipe("/bucket/c.jsonl", ROW.encode())
    for path in ("a.jsonl", "memory://bucket/c.jsonl"):
        assert refused(Source(path=path, split="train"), tmp_path) == (
            f"data.train[0].split: found 'train' for {path}, expected it only for a folder or a data set of the hub; "
            "remove it"
        )
    assert refused(Source(path="set", revision="main"), tmp_path).startswith("data.train[0].revision: found 'main' for")


def test_rows_within_one_object_are_told_what_to_become(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"data": [json.loads(ROW)]}, indent=1))
    assert refused(Source(path="a.json"), tmp_path).startswith(
        "a.json:1: invalid JSON (Expecting property name enclosed in double quotes at column 2), and so are all"
    )


# --- addresses -----------------------------------------------------------------------------------------------


@pytest.fixture
def bucket() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/bucket", recursive=True)


def test_files_at_an_address_are_read_as_those_here(tmp_path: Path, bucket: Any) -> None:
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([json.loads(ROW)] * 3), table)
    bucket.pipe({"/bucket/a.jsonl.gz": gzip.compress(ROW.encode() * 3), "/bucket/b.parquet": table.getvalue()})
    for name in ("a.jsonl.gz", "b.parquet"):
        source = Source(path=f"memory://bucket/{name}")
        rows = load([source], tmp_path, "train").rows
        assert [row["completion"] for row in rows] == ["tell"] * 3
        assert rows[2]["source"] == f"memory://bucket/{name}:3"
        assert look(source, tmp_path).rows == 3


def test_a_folder_at_an_address_has_files_and_splits(tmp_path: Path, bucket: Any) -> None:
    for name in ("train-1.jsonl", "train-0.jsonl", "test.jsonl", "notes.txt"):
        bucket.pipe(f"/bucket/set/{name}", ROW.encode())
    assert "holds the splits test, train" in refused(Source(path="memory://bucket/set"), tmp_path)
    found = places(Source(path="memory://bucket/set", split="train"), tmp_path)
    assert [place.rpartition("/")[2] for place in found] == ["train-0.jsonl:1", "train-1.jsonl:1"]


def test_an_address_where_nothing_is_and_one_without_its_driver(tmp_path: Path) -> None:
    assert refused(Source(path="memory://bucket/none.jsonl"), tmp_path).startswith(
        "memory://bucket/none.jsonl: no such file there"
    )
    text = refused(Source(path="oci://bucket/x.jsonl?signature=secret"), tmp_path)
    assert text.startswith("oci://bucket/x.jsonl: addresses with oci:// cannot be opened here")
    assert text.endswith("pip install ocifs")
    assert "secret" not in text


def test_a_web_server_without_parts_of_files_is_enough(tmp_path: Path) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    make(tmp_path, "www/a.jsonl")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "www"))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = Source(path=f"http://127.0.0.1:{server.server_port}/a.jsonl?key=secret")
        (place,) = places(source, tmp_path)
        (found,) = digests([source], tmp_path, "train")
        server.shutdown()
    assert place == f"http://127.0.0.1:{server.server_port}/a.jsonl:1"
    assert "secret" not in json.dumps(found["files"])
    assert "last-modified=" in json.dumps(found["files"])


# --- digests, ids --------------------------------------------------------------------------------------------


def test_digests_follow_content_here_and_there(tmp_path: Path, bucket: Any) -> None:
    make(tmp_path, "a.jsonl", "set/b.jsonl")
    bucket.pipe("/bucket/c.jsonl", ROW.encode())
    sources = [Source(path=path) for path in ("a.jsonl", "set", "memory://bucket/c.jsonl")]
    before = digests(sources, tmp_path, "train")
    assert digests(sources, tmp_path, "train") == before
    (tmp_path / "a.jsonl").write_text(ROW * 2)
    make(tmp_path, "set/d.jsonl")
    bucket.pipe("/bucket/c.jsonl", ROW.encode() * 2)
    after = digests(sources, tmp_path, "train")
    assert all(old["files"] != new["files"] for old, new in zip(before, after, strict=True))
    assert digests([Source(path="a.jsonl", format="alpaca")], tmp_path, "train") != [after[0]]


def test_an_id_is_sixteen_digits_of_file_and_line() -> None:
    # printf 'a.jsonl:1' | sha256sum
    assert row_id("a.jsonl:1") == "6dc932e4d16a77bc"


# --- what a look says ----------------------------------------------------------------------------------------

SHAPES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"prompt": "a", "completion": "b"}, {"format": "prompt_completion"}),
    ({"question": "a", "answer": "b"}, {"format": "prompt_completion", "prompt": "question", "completion": "answer"}),
    ({"instruction": "a", "input": "", "output": "b"}, {"format": "alpaca"}),
    ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, {"format": "sharegpt"}),
    ({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}, {"format": "preference"}),
    (
        {"conversations": [{"from": "human", "value": "a"}], "chosen": "b", "rejected": "c"},
        {"format": "preference", "messages": "conversations"},
    ),
    (
        {"instruction": "a", "output": "b", "kto_tag": True},
        {"format": "unpaired", "prompt": "instruction", "completion": "output", "label": "kto_tag"},
    ),
    (
        {"prompt": "a", "completion": "b", "score_1": 4, "score_2": 5},
        {"format": "rating", "ratings": ["score_1", "score_2"]},
    ),
    (
        {"prompt": "a", "response": "b", "rater": "x", "score": 4},
        {"format": "rating", "completion": "response", "annotator": "rater", "ratings": "score"},
    ),
]


@pytest.mark.parametrize(("row", "expected"), SHAPES, ids=[" ".join(row) for row, _ in SHAPES])
def test_what_was_seen_can_be_written_down_and_gives_the_same_rows(
    tmp_path: Path, row: dict[str, Any], expected: dict[str, Any]
) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    found = reading(Source(path="a.jsonl"), tmp_path, "data.train[0]")
    assert settings(found) == expected
    told = Source.model_validate({"path": "a.jsonl", **settings(found)})
    assert reading(told, tmp_path, "data.train[0]").shape == found.shape
    assert load([told], tmp_path, "train") == load([Source(path="a.jsonl")], tmp_path, "train")


def test_a_look_at_preferences_asks_for_no_labels(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    make(tmp_path, "b.jsonl")
    data = DataSpec(train=["a.jsonl"], test=["b.jsonl"])  # type: ignore[list-item]
    seen = preflight(data, TaskSpec(kind="text"), tmp_path)
    assert [(each.format, each.kind, each.rows) for each in seen] == [
        ("preference", "preference", 1),
        ("prompt_completion", "prompt_completion", 1),
    ]
    assert seen[0].example["chosen"] == "b"


def test_a_table_tells_its_rows_without_being_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["a" * 50] * 30_000, "completion": ["b"] * 30_000}), tmp_path / "a.parquet")
    assert look(Source(path="a.parquet"), tmp_path).rows == 30_000


def test_columns_to_keep_come_from_all_sources() -> None:
    sources = [Source(path="a", keep=["topic"]), Source(path="b", keep=["topic", "customer"])]
    assert kept_columns(sources) == ("topic", "customer")


# --- names that may mean the hub -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["data/trian.jsonl", "data/trian", "there/owner"])
def test_what_may_be_a_file_here_is_not_looked_for_on_the_hub(tmp_path: Path, path: str) -> None:
    make(tmp_path, "data/train.jsonl", "there/x.jsonl")
    assert refused(Source(path=path), tmp_path).startswith(f"{path}: no such file")


def test_offline_a_data_set_of_the_hub_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for path in ("owner/name", "hf://owner/name", "hf://datasets/owner/name"):
        text = refused(Source(path=path), tmp_path)
        assert text.startswith("hf://owner/name: no file or folder here has this name, and the Hugging Face hub gives")
        assert "hf download owner/name --repo-type dataset --local-dir data/name" in text


def test_a_wrong_encoding_of_the_spec_is_told_before_any_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.train\[0\]\.encoding: found 'rot13'"):
        origins(Source(path="none.jsonl", encoding="rot13"), tmp_path, "data.train[0]")
