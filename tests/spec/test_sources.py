"""What `data` may name: paths in the project, addresses of known kinds, the hub; and no row twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.errors import SpecError
from posttrain.spec import Source, load

SPEC = "name: small\ntask: {{kind: text}}\ndata:\n  train: {}\n  test: {}\n"


def loaded(folder: Path, train: str, test: str = "test.jsonl") -> Source:
    (folder / "spec.yaml").write_text(SPEC.format(train, test), encoding="utf-8")
    return load(folder / "spec.yaml", folder).spec.data.train[0]


def refused(folder: Path, train: str, test: str = "test.jsonl") -> str:
    with pytest.raises(SpecError) as caught:
        loaded(folder, train, test)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "path",
    ["s3://bucket/rows.jsonl", "gs://bucket/folder", "https://example.org/rows.parquet?key=1", "hf://owner/name",
     "owner/name", "memory://a/b", "data/folder", "data/rows.arrow"],
)  # fmt: skip
def test_files_folders_addresses_and_the_hub_may_be_named(tmp_path: Path, path: str) -> None:
    assert loaded(tmp_path, path).path == path
    assert loaded(tmp_path, f"[{{path: '{path}'}}]").path == path


@pytest.mark.parametrize(
    "path",
    ["file:///etc/passwd", "local:///etc/passwd", "zip://x::file:///etc/passwd", "simplecache::s3://bucket/x",
     "s3://bucket/x::file:///etc/passwd", "github://owner:repo@main/x", "'s3://bucket/a b'"],
)  # fmt: skip
def test_other_addresses_are_refused(tmp_path: Path, path: str) -> None:
    text = refused(tmp_path, path)
    assert "data.train: found " in text
    assert "which is an address of a kind that is not read, expected s3, s3a, gs, gcs, https, … or a path" in text
    assert text.endswith("; copy or link the file into the project and name it from there, as in data/rows.jsonl")


def test_a_password_is_refused_and_not_repeated(tmp_path: Path) -> None:
    text = refused(tmp_path, "https://ann:secret@example.org/rows.jsonl")
    assert "found 'https://example.org/rows.jsonl', which holds a password" in text
    assert "secret" not in text


def test_only_sources_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.format("a.jsonl", "b.jsonl") + "  published: s3://bucket/scores.json\n")
    with pytest.raises(SpecError, match=r"data\.published: found 's3://bucket/scores\.json', which is an address"):
        load(tmp_path / "spec.yaml", tmp_path)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("owner/name", "hf://datasets/owner/name"),
        ("s3://bucket/x", "s3://bucket/x"),
        ("{path: set, split: train}", "{path: ./set, split: train}"),
    ],
)
def test_a_test_on_the_rows_of_the_training_is_refused(tmp_path: Path, train: str, test: str) -> None:
    assert "is in data.train too, so its scores would mean nothing" in refused(tmp_path, train, test)


def test_another_split_or_configuration_is_another_source(tmp_path: Path) -> None:
    loaded(tmp_path, "{path: owner/name, split: train}", "{path: owner/name, split: test}")
    loaded(tmp_path, "{path: owner/name, name: en}", "{path: owner/name, name: zh}")


def test_one_name_may_stand_for_a_list(tmp_path: Path) -> None:
    source = loaded(tmp_path, "{path: a.jsonl, ratings: score, keep: [topic, customer]}")
    assert (source.ratings, source.keep) == (["score"], ["topic", "customer"])
    assert "data.train[0].ratings: found 3, expected text or a list" in refused(tmp_path, "{path: a.jsonl, ratings: 3}")
