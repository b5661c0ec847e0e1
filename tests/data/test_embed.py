"""Texts as vectors: like meaning, like vector; the same text always the same bits; nothing is embedded twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from posttrain.data.embedding import pretrained
from posttrain.data.embedding.embed import AUTO, LEXICAL, WIDTH, Embedder, lexical_vectors, mostly_latin, tokens, unit
from posttrain.data.embedding.pretrained import MINILM, folder_of, loaded
from posttrain.data.embedding.vectors import VectorFile, VectorStore, embedded
from posttrain.data.engine import Local
from posttrain.errors import ModelError

BREAD = ["How do I bake bread at home?", "What is the way to bake bread at home?"]
CAPITALS = ["What is the capital city of France?", "What is the capital of Spain?"]


def cosines(vectors: np.ndarray) -> np.ndarray:
    return vectors.astype(np.float32) @ vectors.astype(np.float32).T


def test_paraphrases_are_alike_and_other_questions_are_not() -> None:
    found = cosines(Embedder(MINILM)([*BREAD, *CAPITALS]))
    assert found[0, 1] > 0.85
    assert found[2, 3] < 0.85
    assert found[:2, 2:].max() < 0.3
    assert np.diag(found) == pytest.approx(1, abs=2e-3)


def test_a_text_has_the_same_bits_in_any_company() -> None:
    embedder = Embedder(MINILM)
    long = " ".join(BREAD) * 3
    together = embedder([*CAPITALS, *BREAD, long])
    assert (embedder([long])[0] == together[4]).all()
    assert (embedder([BREAD[1], CAPITALS[0]]) == together[[3, 0]]).all()


def test_a_long_text_is_read_at_both_ends() -> None:
    tokenizer, _ = loaded(folder_of(MINILM, "model"), "AutoModel")
    passage = "The river rises in the hills and runs to the sea. " * 2000
    short, first, last = tokens(tokenizer, ["the sea", f"{passage}Where?", f"{passage}Why?"], 16)
    assert len(short) == 4  # two words between two special tokens
    assert len(first) == len(last) == 16
    assert first[:13] == last[:13]
    assert first[13] != last[13]  # Where, Why


def test_auto_reads_chinese_by_its_words_and_english_by_its_meaning() -> None:
    texts = ["简要解释什么是碳抵消。", "网站账户创建流程描述。", BREAD[0], "", "42"]
    embedder = Embedder(AUTO)
    assert embedder.lexical(texts).tolist() == [True, True, False, True, True]
    found = embedder(texts)
    assert cosines(found)[0, 1] < 0.3  # minilm: 1.00, for it knows none of these characters
    assert (found[2] == Embedder(MINILM)([BREAD[0]])[0]).all()
    assert (found[:2] == Embedder(LEXICAL)(texts[:2])).all()


def test_latin_means_at_least_half_of_the_letters() -> None:
    assert mostly_latin(["ab 世界", "a 世界", "123 ab", "привет", "¿qué?"]).tolist() == [True, False, True, False, True]


def test_lexical_vectors_are_made_of_words_and_pairs_of_words() -> None:
    # one two -> {one, two, one two}; one three -> {one, three, one three}: one of three features is shared.
    # one one -> one twice (root 2) and the pair once: length root 3, so its product with one is root 2 / root 3.
    found = cosines(lexical_vectors(["one two", "One, three!", "one one", "one"]))
    assert found[0, 1] == pytest.approx(1 / 3, abs=1e-3)
    assert found[2, 3] == pytest.approx((2 / 3) ** 0.5, abs=1e-3)
    chinese = cosines(lexical_vectors(["你好", "你 好"]))
    assert chinese[0, 1] == pytest.approx(1, abs=1e-3)


def test_texts_without_words_are_alike() -> None:
    assert cosines(Embedder(LEXICAL)(["", "…"]))[0, 1] == 1
    assert unit(np.zeros((1, 3), np.float32)).tolist() == [[1, 0, 0]]


def folder(path: Path, **files: object) -> str:
    path.mkdir()
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def test_models_that_cannot_be_trusted_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"curate\.semantic\.model: folder /nowhere does not exist"):
        Embedder("/nowhere", key="curate.semantic.model")(["a"])
    pickled = folder(tmp_path / "pickled", config={"hidden_size": 4})
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        folder_of(pickled, "model")
    own_code = folder(tmp_path / "own", config={"auto_map": {"AutoModel": "evil.Model"}})
    (tmp_path / "own" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="Python code of its own"):
        folder_of(own_code, "model")


def test_the_embedded_model_is_what_it_claims_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_MINILM_WEIGHTS", "0" * 16)
    with pytest.raises(ModelError, match="does not hold all-MiniLM-L6-v2's own weights"):
        folder_of(MINILM, "another key")


class Counting(Local):
    """Counts the texts that are embedded."""

    texts = 0

    def map(self, function: Callable[..., np.ndarray], items: Iterable[list[str]]) -> Iterator[np.ndarray]:  # type: ignore[override]
        for item in items:
            self.texts += len(item)
            yield function(item)


def test_a_second_run_embeds_nothing(tmp_path: Path) -> None:
    embedder, engine = Embedder(AUTO), Counting()
    batches = [[*BREAD, BREAD[0]], [CAPITALS[0], BREAD[1]], []]
    with VectorStore(tmp_path, embedder.digest, WIDTH) as store:
        first = list(embedded(embedder, batches, engine, store))
    assert engine.texts == 3
    with VectorStore(tmp_path, embedder.digest, WIDTH) as store:
        second = list(embedded(embedder, batches, engine, store))
    assert engine.texts == 3
    assert [len(vectors) for vectors in first] == [3, 2, 0]
    assert all((one == other).all() for one, other in zip(first, second, strict=True))
    assert (first[0] == embedder(batches[0])).all()


def test_another_embedder_finds_no_vectors_of_this_one(tmp_path: Path) -> None:
    digests = {Embedder(model, size).digest for model in (AUTO, LEXICAL) for size in (64, 128)}
    assert len(digests) == 4
    with VectorStore(tmp_path, "one", 2) as store:
        store.add(store.keys(["text"]), np.array([[1.5, -2]]))
        assert store.find(store.keys(["other", "text"]))[1].tolist() == [1.5, -2]
    with VectorStore(tmp_path, "two", 2) as store:
        assert store.find(store.keys(["text"])) == {}


def test_vectors_lie_in_a_file_that_goes_with_its_user(tmp_path: Path) -> None:
    path = tmp_path / "vectors.f16"
    with VectorFile(path, 2) as file:
        assert list(file.blocks()) == []
        file.append(np.array([[1, 2], [3, 4]]))
        assert file.take(np.array([1, 0])).tolist() == [[3, 4], [1, 2]]
        file.append(np.array([[5, 6]]))
        assert [(start, block.tolist()) for start, block in file.blocks(2)] == [(0, [[1, 2], [3, 4]]), (2, [[5, 6]])]
    assert not path.exists()
