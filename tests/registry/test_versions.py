"""A real model is registered in a real store and loaded back by the documented line."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from adapters import random_llama, with_adapter
from registered import verdict

from posttrain import registry, tracking
from posttrain.artifacts import DatasetRef, ModelRef, Workspace, file_digest
from posttrain.errors import ModelError
from posttrain.evaluation.generate import answer
from posttrain.evaluation.scores import Score, Scores
from posttrain.models.load import content_digest, load_model, load_tokenizer
from posttrain.models.merging import merge
from posttrain.prompts import messages
from posttrain.registry import Asking, Registered

PROMPTS = ["play some jazz", "book a table for two in Boston tonight", "rate this book four out of six stars"]
# peft's own, about transformers' next major version.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

LETTERS = str.maketrans("0123456789", "ghijklmnop")
# Enough different words for every token id to stand for some text.
TEXTS = [
    " ".join(hashlib.sha256(bytes([i, j])).hexdigest()[:12].translate(LETTERS) for j in range(99)) for i in range(99)
]
ASKING = Asking(system="Answer with JSON.", max_new_tokens=12, batch_size=2)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """A random Llama with a LoRA adapter whose weights matter, both on disk."""
    folder = tmp_path_factory.mktemp("model")
    return with_adapter(random_llama(folder / "base", [*TEXTS, *PROMPTS]), folder / "adapter")


@pytest.fixture(scope="module")
def released(adapted: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """The same as one folder: what is tested and registered."""
    return merge(adapted, Workspace(tmp_path_factory.mktemp("merged"))).result.model


@pytest.fixture(scope="module")
def outputs(adapted: ModelRef) -> list[str]:
    """What evaluation sees: the greedy answers of base and adapter, merged on loading."""
    conversations = [messages(ASKING.system, prompt) for prompt in PROMPTS]
    model, tokenizer = load_model(adapted, merge=True), load_tokenizer(adapted)
    texts, _ = answer(model, tokenizer, conversations, max_new_tokens=12, batch_size=2)
    alone, _ = answer(
        load_model(ModelRef(base=adapted.base, fingerprint="0")), tokenizer, conversations, max_new_tokens=12
    )
    assert all(texts)
    assert len({*texts, *alone}) == 2 * len(PROMPTS), "equality below would say nothing"
    return texts


def scores_of(model: ModelRef, folder: Path, outputs: list[str], value: float = 0.5) -> Scores:
    """Scores whose outputs lie in a real Parquet file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "outputs.parquet"
    rows = [
        {"id": str(place), "prompt": prompt, "expected": "{}", "output": output}
        for place, (prompt, output) in enumerate(zip(PROMPTS, outputs, strict=True))
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    return Scores(
        model=model,
        split="test",
        prompting="zero-shot",
        rows=len(rows),
        metrics={"slot_f1": Score(value=value, low=value - 0.1, high=value + 0.1)},
        outputs=DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(rows)),
        seconds=1.0,
    )


def add(
    model: ModelRef, run_id: str, scores: Scores, asking: Asking = ASKING, trained: ModelRef | None = None
) -> Registered:
    """Register with the lineage that these tests look at."""
    return registry.register(
        model,
        "voice-assistant",
        asking=asking,
        scores=scores,
        run_id=run_id,
        datasets={
            "train": DatasetRef(uri="/data/train.parquet", fingerprint="aaaabbbbccccdddd", rows=9),
            "general": None,
        },
        spec_digest="0123456789abcdef",
        trained=trained,
    )


def test_the_documented_line_gives_what_evaluation_saw(
    released: ModelRef, outputs: list[str], run_id: str, tmp_path: Path
) -> None:
    """In another process, knowing nothing but the store's address."""
    scores = scores_of(released, tmp_path, outputs)
    made = add(released, run_id, scores)
    registry.promote("voice-assistant", made.version, verdict(passed=True), against=None)
    line = registry.load_line(os.environ["MLFLOW_TRACKING_URI"], "voice-assistant")
    assert 'mlflow.pyfunc.load_model("models:/voice-assistant@champion").predict(["play some jazz"])' in line
    script = line.replace('["play some jazz"]', repr(PROMPTS)).replace("print(", "print(repr(") + ")"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert ran.stdout.strip() == repr(outputs), ran.stderr[-2000:]


def test_a_version_carries_signature_lineage_metrics_and_no_pickle(
    adapted: ModelRef, released: ModelRef, outputs: list[str], run_id: str, tmp_path: Path
) -> None:
    made = add(released, run_id, scores_of(released, tmp_path, outputs), trained=adapted)
    registry.keep_verdicts(made, [verdict(passed=False)])
    client = tracking.client()
    version = client.get_model_version("voice-assistant", made.version)
    model = client.get_logged_model(made.model_id)
    folder = Path(mlflow.artifacts.download_artifacts(made.uri))
    assert version.tags["posttrain.dataset.train"] == "aaaabbbbccccdddd"
    assert version.tags["posttrain.spec_digest"] == "0123456789abcdef"
    assert (version.tags["posttrain.base"], version.tags["posttrain.adapter"]) == (adapted.base, adapted.adapter)
    assert version.tags["gate.release"] == "refused"
    assert version.tags["gate.release.summary"] == "the release gate says False"
    assert "slot_f1 0.500 [0.400, 0.600]" in version.description
    assert {metric.key: metric.value for metric in model.metrics}["test/slot_f1"] == 0.5
    assert '"type": "string"' in (folder / "MLmodel").read_text()
    assert "torch==" in (folder / "requirements.txt").read_text()
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert ".safetensors" in kinds
    assert not kinds & {".pkl", ".bin", ".pt", ".pth"}


def test_what_is_registered_is_byte_for_byte_what_was_evaluated(
    released: ModelRef, outputs: list[str], run_id: str, tmp_path: Path
) -> None:
    made = add(released, run_id, scores_of(released, tmp_path, outputs))
    folder = Path(mlflow.artifacts.download_artifacts(made.uri), "artifacts", "model")
    assert content_digest(folder) == content_digest(Path(released.base))


def test_files_that_changed_since_they_were_evaluated_are_not_registered(
    released: ModelRef, outputs: list[str], run_id: str, tmp_path: Path
) -> None:
    copy = shutil.copytree(released.base, tmp_path / "model")
    model = released.model_copy(update={"base": str(copy)})
    (copy / "generation_config.json").write_text('{"do_sample": true}')
    with pytest.raises(ModelError, match="its files are not those that were evaluated"):
        add(model, run_id, scores_of(model, tmp_path, outputs))


def test_an_adapter_is_not_registered_by_itself(
    adapted: ModelRef, outputs: list[str], run_id: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="is not merged into"):
        add(adapted, run_id, scores_of(adapted, tmp_path, outputs))


def test_the_same_model_asked_the_same_way_is_one_version(
    released: ModelRef, outputs: list[str], run_id: str, tmp_path: Path
) -> None:
    scores = scores_of(released, tmp_path, outputs)
    first, again = add(released, run_id, scores), add(released, run_id, scores)
    other = add(released, run_id, scores, Asking(system="Answer in French.", max_new_tokens=12, batch_size=2))
    assert (first.version, first.reused) == ("1", False)
    assert (again.version, again.reused, again.model_id) == ("1", True, first.model_id)
    assert (other.version, other.reused) == ("2", False)


def test_the_champion_brings_its_weights_and_scores(
    released: ModelRef, outputs: list[str], run_id: str, tmp_path: Path
) -> None:
    """The workspace may be gone: what the paired test needs is kept with the version."""
    assert registry.champion("voice-assistant") is None
    scores = scores_of(released, tmp_path / "workspace", outputs)
    made = add(released, run_id, scores)
    registry.promote("voice-assistant", made.version, verdict(passed=True), against=None)
    Path(scores.outputs.uri).unlink()
    champion = registry.champion("voice-assistant")
    assert champion is not None
    assert champion.scores is not None
    assert champion.scores.metrics == scores.metrics
    kept = parquet.read_table(champion.scores.outputs.uri).to_pylist()
    assert [row["output"] for row in kept] == outputs
    assert file_digest(Path(champion.scores.outputs.uri)) == scores.outputs.fingerprint
    conversations = [messages(ASKING.system, prompt) for prompt in PROMPTS]
    model, tokenizer = load_model(champion.model), load_tokenizer(champion.model)
    assert answer(model, tokenizer, conversations, max_new_tokens=12, batch_size=2)[0] == outputs


def test_new_scores_of_a_registered_model_replace_the_kept_ones(
    released: ModelRef, outputs: list[str], run_id: str, tmp_path: Path
) -> None:
    made = add(released, run_id, scores_of(released, tmp_path / "a", outputs, value=0.5))
    registry.promote("voice-assistant", made.version, verdict(passed=True), against=None)
    add(released, run_id, scores_of(released, tmp_path / "b", [f"{text}!" for text in outputs], value=0.75))
    champion = registry.champion("voice-assistant")
    assert champion is not None
    assert champion.scores is not None
    assert champion.scores.metrics["slot_f1"].value == 0.75


def test_the_incumbent_is_whom_the_candidate_must_beat(
    released: ModelRef, outputs: list[str], run_id: str, tmp_path: Path
) -> None:
    """The same weights asked in another way are another candidate, to be compared like any other."""
    assert registry.incumbent("voice-assistant", released, ASKING) == registry.Incumbent()
    made = add(released, run_id, scores_of(released, tmp_path, outputs))
    registry.promote("voice-assistant", made.version, verdict(passed=True), against=None)
    same = registry.incumbent("voice-assistant", released, ASKING)
    assert (same.version, same.is_candidate, same.scores) == ("1", True, None)
    other = registry.incumbent("voice-assistant", released, Asking(system="Answer in French."))
    assert (other.version, other.is_candidate) == ("1", False)
    assert other.scores is not None
    assert other.scores.metrics["slot_f1"].value == 0.5


@pytest.mark.filterwarnings("ignore")  # MLflow's own, of a model that is loaded where it was logged
def test_virtual_tokens_which_cannot_be_merged_are_registered_beside_the_base(
    adapted: ModelRef, outputs: list[str], run_id: str, tmp_path: Path
) -> None:
    from peft import PrefixTuningConfig, get_peft_model

    base = ModelRef(base=adapted.base, fingerprint="0")
    get_peft_model(load_model(base), PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")).save_pretrained(
        tmp_path / "prefix"
    )
    model = ModelRef(base=adapted.base, adapter=str(tmp_path / "prefix"), fingerprint="8765432187654321")
    conversations = [messages(ASKING.system, prompt) for prompt in PROMPTS]
    tokenizer = load_tokenizer(model)
    seen, _ = answer(load_model(model, merge=True), tokenizer, conversations, max_new_tokens=12)

    whole = merge(model, Workspace(tmp_path / "work")).result.model
    made = add(whole, run_id, scores_of(whole, tmp_path, seen), trained=model)
    registry.promote("voice-assistant", made.version, verdict(passed=True), against=None)

    assert mlflow.pyfunc.load_model(made.uri).predict(PROMPTS) == seen
    champion = registry.champion("voice-assistant")
    assert champion is not None
    again, _ = answer(load_model(champion.model, merge=True), tokenizer, conversations, max_new_tokens=12)
    assert again == seen
    assert not {*seen} & {*outputs, *answer(load_model(base), tokenizer, conversations, max_new_tokens=12)[0]}
