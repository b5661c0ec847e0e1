"""DPO, IPO, KTO and ORPO: what they learn, what they compare with, and how they resume."""

from __future__ import annotations

import gc
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from posttrain.artifacts import DatasetRef, ModelRef, Workspace, file_digest
from posttrain.errors import DataError, ModelError, StageCrashed, TrainingDiverged
from posttrain.models.load import load_model, load_tokenizer
from posttrain.spec import AlignSpec, SFTSpec
from posttrain.training import preference, sft, trainer
from posttrain.training.job import Recipe
from posttrain.training.result import TrainResult
from posttrain.training.rows import read

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

LORA = SFTSpec(method="lora", lora_rank=4, lora_alpha=16, learning_rate=1e-2)
FULL = SFTSpec(method="full")


def written(rows: list[dict[str, Any]], path: Path) -> DatasetRef:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)
    return DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(rows))


@pytest.fixture(scope="module")
def preferences(tmp_path_factory: pytest.TempPathFactory, data: Any) -> DatasetRef:
    """Rows whose completion is preferred to one that says nothing."""
    nothing = json.dumps({"intent": "Nothing", "slots": {}})
    made = [
        {"id": row["id"], "system": "", "prompt": row["prompt"], "chosen": row["completion"], "rejected": nothing}
        for row in read(data(20))
    ]
    return written(made, tmp_path_factory.mktemp("pairs") / "pairs.parquet")


@pytest.fixture(scope="module")
def policy(base: ModelRef, data: Any, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """The base with an adapter that SFT trained."""
    folder = str(tmp_path_factory.mktemp("sft"))
    recipe = Recipe(learning_rate=1e-2, num_train_epochs=2, batch_size=8, micro_batch_size=8)
    job = sft.resolve(base, data(20), None, LORA, recipe)
    return sft.run(job.model_copy(update={"partial": folder, "final": folder})).model


Ready = Callable[..., preference.PreferenceJob]


@pytest.fixture
def ready(base: ModelRef, preferences: DatasetRef, recipe: Recipe, tmp_path: Path) -> Ready:
    """`ready(method, ...)`: a job with a folder to work in."""

    def of(
        method: Any, model: ModelRef = base, rows: DatasetRef = preferences, shape: SFTSpec = LORA, **spec: Any
    ) -> preference.PreferenceJob:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        job = preference.resolve(model, rows, AlignSpec(method=method, **spec), shape, recipe)
        return job.model_copy(update={"partial": str(folder), "final": str(folder)})

    return of


def log_likelihoods(model: ModelRef, rows: list[dict[str, Any]], side: str) -> list[tuple[float, int]]:
    """(sum of log-probabilities, tokens) of each row's answer, by a plain forward pass of one row at a time."""
    from posttrain.training.rows import completion_ids, prompt_ids

    network, tokenizer = load_model(model), load_tokenizer(model)
    found = []
    for asked, said in zip(
        prompt_ids(rows, tokenizer), completion_ids([row[side] for row in rows], tokenizer), strict=True
    ):
        ids = torch.tensor([asked + said])
        with torch.no_grad():
            every = network(ids).logits[0, :-1].log_softmax(-1)
        read_off = every.gather(1, ids[0, 1:, None])[len(asked) - 1 :]
        found.append((float(read_off.sum()), len(said)))
    return found


# --- what is learned -----------------------------------------------------------------------------------------

# Before the first step every log-ratio is 0: -log sigmoid(0); (0 - 1 / (2 · 0.1))²; 1 - sigmoid(0).
AT_FIRST = {"dpo": math.log(2), "ipo": 25.0, "kto": 0.5}


@pytest.mark.parametrize(
    ("method", "shape", "more"),
    [
        ("dpo", FULL, {"sft_weight": 0.2}),
        ("dpo", LORA, {"length_normalized": True}),
        ("ipo", LORA, {}),
        ("kto", FULL, {}),
    ],
)
def test_the_margin_widens_from_nothing(ready: Ready, method: str, shape: SFTSpec, more: dict[str, Any]) -> None:
    result = preference.run(ready(method, shape=shape, num_train_epochs=4, learning_rate=5e-3, **more))

    first, last = result.curve[0].metrics, result.metrics
    # KTO's micro-batches of one sort of answers have no margin to log.
    assert first.get("rewards/margins", 0.0) == pytest.approx(0, abs=1e-4)
    assert last["rewards/margins"] > 0.1
    if not more:
        assert first["loss"] == pytest.approx(AT_FIRST[method], abs=1e-3)
    if method == "kto":
        assert result.rows == 40, "two answers a pair"
        assert (last["desirable"], last["desirable_weight"], last["undesirable_weight"]) == (20, 1, 1)


def test_orpo_learns_without_reference_and_without_sft(base: ModelRef, ready: Ready, preferences: DatasetRef) -> None:
    result = preference.run(ready("orpo", shape=FULL, num_train_epochs=12, learning_rate=5e-3, batch_size=20, beta=0.3))

    rows = read(preferences)
    chosen, rejected = (log_likelihoods(base, rows, side) for side in ("chosen", "rejected"))

    def log_odds(sides: tuple[float, int]) -> float:
        mean = sides[0] / sides[1]
        return mean - math.log(1 - math.exp(mean))

    nll = -sum(total for total, _ in chosen) / sum(tokens for _, tokens in chosen)
    apart = [log_odds(one) - log_odds(other) for one, other in zip(chosen, rejected, strict=True)]
    odds = sum(math.log(1 + math.exp(-gap)) for gap in apart) / len(apart)
    assert result.curve[0].metrics["loss"] == pytest.approx(nll + 0.3 * odds, abs=1e-3)
    assert result.curve[0].metrics["nll_loss"] == pytest.approx(nll, abs=1e-3)

    after = log_likelihoods(result.model, rows, "chosen")
    assert sum(total for total, _ in after) > 0.7 * sum(total for total, _ in chosen), "SFT is part of the loss"
    assert result.metrics["rewards/accuracies"] == 1


def test_a_certain_answer_has_a_finite_gradient() -> None:
    """ORPO's odds p / (1 - p) of an answer with log-probability 0 are infinite."""

    class Scored:
        log_probs = torch.zeros(2, 3, requires_grad=True)

    class Batch(preference.Odds):
        padding_value, aux_loss_enabled = 0, False

        class accelerator:
            device = "cpu"

        def concatenated_inputs(self, batch: Any, **_: Any) -> dict[str, torch.Tensor]:
            ids = torch.ones(2, 4, dtype=torch.long)
            return {f"concatenated_{name}": ids for name in ("input_ids", "attention_mask", "labels")}

    chosen, rejected, *_ = Batch().concatenated_forward(lambda **_: Scored, {})
    gap = (chosen - rejected) - (torch.log(-torch.expm1(chosen)) - torch.log(-torch.expm1(rejected)))
    torch.nn.functional.logsigmoid(gap).sum().backward()
    assert Scored.log_probs.grad is not None
    assert torch.isfinite(Scored.log_probs.grad).all()


# --- what is compared with -----------------------------------------------------------------------------------


@contextmanager
def counting_copies(base: ModelRef) -> Iterator[Callable[[], float]]:
    """How many copies of the base's weights have come into memory since, by the bytes of distinct storages."""

    def storages() -> dict[int, int]:
        gc.collect()
        tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
        found = [each.untyped_storage() for each in tensors if each.is_floating_point()]
        return {storage.data_ptr(): storage.nbytes() for storage in found}

    before = storages()
    whole = (Path(base.base) / "model.safetensors").stat().st_size
    yield lambda: sum(size for at, size in storages().items() if at not in before) / whole


@pytest.mark.parametrize("method", ["dpo", "ipo", "kto", "orpo"])
def test_with_the_adapter_off_it_is_the_sft_model_and_there_is_no_second_copy(
    base: ModelRef, policy: ModelRef, ready: Ready, method: str
) -> None:
    ids = torch.arange(5, 25).view(2, 10)
    with torch.no_grad():
        of_sft, of_base = (load_model(ref, merge=ref is policy)(ids).logits for ref in (policy, base))
        unmerged = load_model(policy)(ids).logits
    job = ready(method, policy)
    with counting_copies(base) as copies:
        model, tokenizer, stands_on = trainer.load_policy(job)
        built = preference.build(job, model, tokenizer, preference.dataset(job, tokenizer)[0])
        assert 0.9 < copies() < 1.3, "one copy, and the adapter"

    assert getattr(built, "ref_model", None) is None
    with torch.no_grad(), built.model.eval().disable_adapter():
        reference = built.model(ids).logits
    assert torch.allclose(reference, of_sft, atol=1e-6, rtol=0)
    assert torch.allclose(reference, unmerged, atol=1e-4)
    assert not torch.allclose(reference, of_base, atol=1e-2)
    assert Path(stands_on).is_relative_to(job.partial), "the merged model is part of the output"


def test_where_sft_trained_every_weight_its_model_is_the_reference_and_not_the_raw_base(
    base: ModelRef, data: Any, ready: Ready, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "sft").mkdir()
    tuning = sft.resolve(base, data(20), None, FULL, recipe)
    tuned = sft.run(tuning.model_copy(update=dict.fromkeys(("partial", "final"), str(tmp_path / "sft")))).model
    job = ready("dpo", tuned)
    model, tokenizer, _ = trainer.load_policy(job)
    built = preference.build(job, model, tokenizer, preference.dataset(job, tokenizer)[0])

    expected = log_likelihoods(tuned, read(job.train), "chosen")
    assert built.train_dataset["ref_chosen_logps"][:] == pytest.approx([total for total, _ in expected], abs=1e-2)
    raw = log_likelihoods(base, read(job.train), "chosen")
    assert built.train_dataset["ref_chosen_logps"][0] != pytest.approx(raw[0][0], abs=1)


def test_full_training_scores_its_reference_beforehand_instead_of_keeping_it(base: ModelRef, ready: Ready) -> None:
    job = ready("dpo", shape=FULL)
    with counting_copies(base) as copies:
        model, tokenizer, _ = trainer.load_policy(job)
        built = preference.build(job, model, tokenizer, preference.dataset(job, tokenizer)[0])
        assert 0.9 < copies() < 1.3
    assert built.ref_model is None


def test_the_product_stands_on_the_merged_model(policy: ModelRef, ready: Ready) -> None:
    aligned = preference.run(ready("dpo", policy, learning_rate=5e-3)).model

    ids = torch.arange(5, 15)[None]
    merged = load_model(ModelRef(base=aligned.base, fingerprint=""))
    assert torch.allclose(merged(ids).logits, load_model(policy)(ids).logits, atol=1e-4)
    assert not torch.allclose(load_model(aligned)(ids).logits, merged(ids).logits, atol=1e-6)


# --- rows ----------------------------------------------------------------------------------------------------


def test_kto_learns_from_single_answers_and_weighs_the_rarer_sort(ready: Ready, data: Any, tmp_path: Path) -> None:
    """Of 20 answers 5 are bad: each of them counts as three good ones."""
    rows = [{**row, "label": "false" if number % 4 == 0 else "true"} for number, row in enumerate(read(data(20)))]
    result = preference.run(ready("kto", rows=written(rows, tmp_path / "labels.parquet")))

    assert (result.rows, result.metrics["desirable"]) == (20, 15)
    assert (result.metrics["desirable_weight"], result.metrics["undesirable_weight"]) == (1, 3)


def test_an_answer_of_the_same_sort_to_another_prompt_measures_the_drift() -> None:
    prompts = [f"p{pair}" for pair in range(6) for _ in "ab"]
    labels = [True, False] * 6
    found = preference.mismatched(prompts, labels, 0, "x")

    assert all(prompts[row] != prompts[other] for row, other in enumerate(found))
    assert all(labels[row] == labels[other] for row, other in enumerate(found))
    assert preference.mismatched(["a", "a", "b"], [True, True, False], 0, "x")[:2] == [2, 2]
    with pytest.raises(DataError, match="two prompts"):
        preference.mismatched(["a", "a"], [True, False], 0, "x")


def test_rows_that_the_method_cannot_learn_from_are_refused(ready: Ready, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(ready("dpo").model)
    row = {"id": "1", "system": "", "prompt": "a", "completion": "b", "label": "true"}
    rows = written([row, {**row, "prompt": "c"}], tmp_path / "good.parquet")
    with pytest.raises(DataError, match=r"expected chosen; dpo learns from pairs.*align\.method: kto"):
        preference.dataset(ready("dpo", rows=rows), tokenizer)
    with pytest.raises(DataError, match="all 2 answers are good"):
        preference.dataset(ready("kto", rows=rows), tokenizer)


def test_kto_needs_two_answers_at_a_time(ready: Ready) -> None:
    job = ready("kto")
    assert (job.batch_size, job.micro_batch_size) == (16, 16), "eight pairs"
    model, tokenizer, _ = trainer.load_policy(job)
    rows = preference.dataset(job, tokenizer)[0]
    with pytest.raises(ModelError, match="two of up to 512 tokens do not fit"):
        preference.build(job.model_copy(update={"micro_batch_size": 1}), model, tokenizer, rows)


def test_settings_of_another_method_are_refused() -> None:
    with pytest.raises(ValueError, match="found sft_weight with method kto"):
        AlignSpec(method="kto", sft_weight=0.1)
    with pytest.raises(ValueError, match="found length_normalized with method ipo"):
        AlignSpec(method="ipo", length_normalized=True)


# --- resuming ------------------------------------------------------------------------------------------------


@contextmanager
def stopped_in_step(number: int) -> Iterator[None]:
    """Fail inside this optimizer step, counted from now."""
    taken = 0

    def fail(*_: Any) -> None:
        nonlocal taken
        taken += 1
        if taken == number:
            raise RuntimeError("stopped")

    hook = register_optimizer_step_pre_hook(fail)
    try:
        yield
    finally:
        hook.remove()


def outcome(result: TrainResult) -> tuple[str, dict[str, float], list[int]]:
    return result.model.fingerprint, result.metrics, [point.step for point in result.curve]


@pytest.mark.parametrize(
    ("method", "shape"), [("ipo", LORA), ("kto", FULL), ("orpo", LORA.model_copy(update={"lora_dropout": 0.1}))]
)
def test_stopped_and_resumed_is_bit_identical(ready: Ready, method: str, shape: SFTSpec) -> None:
    """Three steps an epoch, a checkpoint every second one; stopped inside the second epoch."""
    given = {"shape": shape.model_copy(update={"save_steps": 2}), "num_train_epochs": 2}
    undisturbed = preference.run(ready(method, **given))
    job = ready(method, **given)
    with stopped_in_step(4), pytest.raises(RuntimeError, match="stopped"):
        preference.run(job)
    resumed = preference.run(job)

    assert resumed.restarts == 1
    assert outcome(resumed) == outcome(undisturbed)


def test_killed_and_resumed_is_bit_identical(
    base: ModelRef,
    preferences: DatasetRef,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DPO in processes of its own, one of them killed by the kernel's own signal."""
    spec, shape = AlignSpec(num_train_epochs=2), LORA.model_copy(update={"save_steps": 2})
    undisturbed = preference.train(base, preferences, spec, shape, recipe, Workspace(tmp_path / "undisturbed")).result
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal\n"
        "from torch.optim.optimizer import register_optimizer_step_pre_hook\n"
        "taken = 0\n"
        "def faulty(*_):\n"
        "    global taken\n"
        "    taken += 1\n"
        f"    if taken == 4 and not os.path.exists('{tmp_path}/died'):\n"
        f"        open('{tmp_path}/died', 'w').close(); os.kill(0, signal.SIGKILL)\n"
        "register_optimizer_step_pre_hook(faulty)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(StageCrashed, match="SIGKILL"):
        preference.train(base, preferences, spec, shape, recipe, Workspace(tmp_path / "killed"))
    resumed = preference.train(base, preferences, spec, shape, recipe, Workspace(tmp_path / "killed")).result

    assert outcome(resumed) == outcome(undisturbed)


@pytest.mark.parametrize("method", ["kto", "orpo"])
def test_a_loss_that_is_not_finite_stops(ready: Ready, method: str) -> None:
    with pytest.raises(TrainingDiverged, match="lower learning_rate"):
        preference.run(ready(method, shape=FULL, learning_rate=1.0, num_train_epochs=50, beta=1e30))
