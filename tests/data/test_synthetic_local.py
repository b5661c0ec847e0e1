"""A teacher loaded on this machine: the embedded tiny model, asked in batches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from posttrain.data.synthetic.cache import Cache
from posttrain.data.synthetic.calls import Answer, Call, Failed
from posttrain.data.synthetic.distill import distill
from posttrain.data.synthetic.local import OwnDice
from posttrain.data.synthetic.model_folder import TINY, find
from posttrain.data.synthetic.teacher import Teacher
from posttrain.errors import ModelError
from posttrain.prompts import messages
from posttrain.spec.sections.synthetic import DistillSpec, TeacherSpec

WORDS = [
    "play some jazz",
    "what is the weather in Rome tomorrow",
    "book a table",
    "rate this book four stars out of six",
]


def spec(**settings: Any) -> TeacherSpec:
    return TeacherSpec(**{"model": "tiny", "max_tokens": 8, "temperature": 2.0, "top_p": 1.0, **settings})


def ask(samples: int = 1) -> list[Call]:
    return [Call(tuple(messages("", f"Repeat: {text}")), sample) for text in WORDS for sample in range(samples)]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other take seconds on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return Teacher(spec(), tmp_path_factory.mktemp("calls")).ask(ask(samples=2))


def test_answers_carry_their_tokens_and_the_models_digest(outcomes: list[Any]) -> None:
    assert len(outcomes) == 8
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    for answer in outcomes:
        assert 0 <= answer.output_tokens <= 8
        assert answer.finish == ("length" if answer.output_tokens == 8 else "stop")
        assert answer.model.startswith("tiny@")
    assert len({answer.text for answer in outcomes}) >= 7, "samples differ"


def test_what_a_row_says_does_not_depend_on_its_batch(outcomes: list[Any], tmp_path: Path) -> None:
    alone = Teacher(spec(batch_size=1), tmp_path).ask(ask(samples=2)[2:4])
    assert alone == outcomes[2:4]


def test_only_missing_calls_are_made(outcomes: list[Any], tmp_path: Path) -> None:
    Teacher(spec(), tmp_path).ask(ask(samples=2)[1:5])
    teacher = Teacher(spec(), tmp_path)
    assert teacher.ask(ask(samples=2)) == outcomes
    assert (teacher.asked.cached, teacher.asked.made) == (4, 4)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    """Shares of 0.5, 0.3 and 0.2 at top_p 0.75: the third is left out, and of 4,000 draws the first gets
    0.5 / 0.8 = 0.625, 2,500, give or take three standard deviations of 30.6."""
    import torch

    scores = torch.tensor([0.5, 0.3, 0.2]).log().expand(4000, 3)
    drawn = OwnDice(range(4000), 1.0, 0.75)(None, scores).argmax(-1).bincount(minlength=3).tolist()
    assert drawn[2] == 0
    assert 2408 <= drawn[0] <= 2592
    cold = OwnDice(range(4000), 0.0, 0.75)(None, scores)
    assert cold.equal(scores)


def test_at_temperature_zero_the_likeliest_token_each_time(tmp_path: Path) -> None:
    """The same as the library's own greedy search."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(TINY)
    model: Any = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    text = tokenizer.apply_chat_template(list(ask()[1].messages), tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    out = model.generate(**ids, do_sample=False, max_new_tokens=8)
    expected = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    answer = Teacher(spec(temperature=0.0), tmp_path).ask(ask())[1]
    assert isinstance(answer, Answer)
    assert answer.text == expected


def test_a_prompt_that_fills_the_context_fails_alone(tmp_path: Path) -> None:
    long = Call(tuple(messages("", "word " * 2000)))
    first, second = Teacher(spec(), tmp_path).ask([long, ask()[0]])
    assert isinstance(first, Failed)
    assert "the model takes 512" in first.why
    assert isinstance(second, Answer)


def test_a_folder_is_found_from_the_root(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "models/mine", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    folder, identity = find(spec(model="models/mine"), tmp_path)
    assert folder == (tmp_path / "models/mine").resolve()
    assert identity.split("@") == ["mine", find(spec(), tmp_path)[1].split("@")[1]]
    assert Teacher(spec(model="models/mine"), tmp_path / "calls", tmp_path).name == "mine"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), r"no \*.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: _own_code(folder / "config.json"), "needs code that comes with it"),
    ],
    ids=["pickle", "no config", "own code"],
)
def test_a_folder_that_is_not_loaded(tmp_path: Path, spoil: Any, said: str) -> None:
    shutil.copytree(TINY, tmp_path / "mine", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    spoil(tmp_path / "mine")
    with pytest.raises(ModelError, match=said):
        Teacher(spec(model="mine"), tmp_path / "calls", tmp_path).ask(ask())


def _own_code(config: Path) -> None:
    content = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**content, "auto_map": {"AutoModelForCausalLM": "evil.Model"}}), encoding="utf-8")


def test_a_model_that_is_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"'nobody/nothing' is no folder and not in the local Hugging Face cache"):
        Teacher(spec(model="nobody/nothing"), tmp_path).ask(ask())


def test_distillation_names_the_answer_in_the_cache(tmp_path: Path) -> None:
    settings = {"teacher": {"model": "tiny", "max_tokens": 8, "temperature": 0}, "prompts": ["p.jsonl"]}
    prompts = pl.DataFrame({"id": ["0" * 16], "source": ["p.jsonl:1"], "prompt": ["Repeat: play"]})
    done = distill(DistillSpec.model_validate(settings), prompts, tmp_path)
    row = pl.concat([done.rows, done.set_aside], how="diagonal").row(0, named=True)
    assert row["source"] == "teacher:tiny#1"
    assert row["teacher"] == find(spec(), tmp_path)[1]
    with Cache(tmp_path) as cache:
        kept = cache.get(row["teacher_call"])
    assert kept is not None
    assert kept.text == row["completion"]
    assert (done.calls, done.cost, done.output_tokens) == (1, 0.0, kept.output_tokens)
