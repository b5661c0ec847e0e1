"""What is kept, what is dropped and what is remembered when a training is taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.errors import GuardTripped, TrainingDiverged
from posttrain.process import classify
from posttrain.spec import GuardsSpec
from posttrain.training import checkpoint
from posttrain.training.guards.easing import Ease, pull_at, rate_at
from posttrain.training.guards.finding import Finding, Observation
from posttrain.training.guards.record import Log, RollBack, State, folder_in, read_state, write_state
from posttrain.training.guards.roll_back import settled, told
from posttrain.training.guards.watch import Guards
from posttrain.training.sft import SFTJob


def job(partial: Path, **changes: object) -> SFTJob:
    nothing = DatasetRef(uri="", fingerprint="", rows=0)
    return SFTJob.model_validate(
        {"model": ModelRef(base="", fingerprint=""), "train": nothing, "method": "full", "learning_rate": 1e-3,
         "num_train_epochs": 1, "batch_size": 8, "micro_batch_size": 8, "max_length": 64, "warmup_ratio": 0.0,
         "partial": str(partial), **changes}
    )  # fmt: skip


def asked_for(to_step: int, away: bool = False) -> RollBack:
    found = Finding(guard="instability", step=30, since=25, severity="roll_back", diagnosis="it went wrong", away=away)
    return RollBack(finding=found, to_step=to_step)


def written(partial: Path, *steps: int) -> None:
    for step in steps:
        folder = partial / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        checkpoint.seal(folder, sound_step=20)


def there(partial: Path) -> list[int]:
    return sorted(map(checkpoint.step_of, (partial / "checkpoints").iterdir()))


def test_a_training_is_taken_back_once_for_each_finding(tmp_path: Path) -> None:
    written(tmp_path, 10, 20, 30, 40)
    assert there(tmp_path) == [20, 30, 40], "the newest two, and the one that may have to be gone back to"
    write_state(tmp_path, State(tripped=asked_for(20, away=True)))

    first = settled(job(tmp_path))

    assert first.eased == (Ease(step=20, rate=0.5, pull=2.0),)
    assert there(tmp_path) == [20]
    assert read_state(tmp_path).tripped is None
    # killed and begun again, with a checkpoint written since: nothing more is to be done
    written(tmp_path, 30)
    assert settled(job(tmp_path)) == first
    assert there(tmp_path) == [20, 30]
    (finding,) = told(first)
    assert finding.diagnosis == (
        "it went wrong; rolled back to step 20, from there on learning rate × 0.5, KL coefficient × 2"
    )


def test_a_parent_killed_half_way_finishes_the_roll_back(tmp_path: Path) -> None:
    written(tmp_path, 20, 30)
    write_state(tmp_path, State(roll_backs=(asked_for(20),)))  # noted, not yet done

    assert settled(job(tmp_path)).eased == (Ease(step=20, rate=0.5),)
    assert there(tmp_path) == [20]


def test_after_two_roll_backs_it_is_given_up(tmp_path: Path) -> None:
    done = asked_for(20).model_copy(update={"done": True})
    write_state(tmp_path, State(roll_backs=(done, done), tripped=asked_for(10)))

    for _ in range(2):  # and another call says so at once
        with pytest.raises(GuardTripped, match=r"instability at step 30: it went wrong\. Taken back 2 times before"):
            settled(job(tmp_path))
    assert classify(GuardTripped("x")) == "GuardTripped"
    assert issubclass(GuardTripped, TrainingDiverged), "never retried"


def test_easing_is_a_function_of_the_step() -> None:
    eased = (Ease(step=20, rate=0.5, pull=2), Ease(step=10, rate=0.5))

    assert [rate_at(eased, step) for step in (9, 10, 19, 20, 99)] == [1, 0.5, 0.5, 0.25, 0.25]
    assert [pull_at(eased, step) for step in (9, 10, 20)] == [1, 1, 2]
    assert job(Path("/nowhere"), eased=eased).deciding == job(Path("/nowhere")).deciding, "it follows from all else"


def test_what_was_observed_is_cut_to_the_checkpoint(tmp_path: Path) -> None:
    log = Log(tmp_path)
    for step in (1, 2, 3, 4):
        log.append(Observation(step=step, metrics={"loss": float("nan") if step == 2 else 1.0}))
    with log.path.open("a") as file:
        file.write('{"step": 5, "met')  # the kill

    assert [one.step for one in log.resume(3)] == [1, 2, 3]
    assert [one.step for one in log.resume(9)] == [1, 2, 3], "what lay after it is gone"
    assert (folder_in(tmp_path) / "observations.jsonl").read_text().count("NaN") == 1


def test_a_guard_knows_again_what_it_knew_before_the_kill(tmp_path: Path) -> None:
    spec = GuardsSpec(window=3, patience=4)
    losses = [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 4.0, 4.0, 4.0, 4.0, 4.0]
    whole, killed = Guards(spec, tmp_path / "whole"), Guards(spec, tmp_path / "killed")
    killed.begin(0, 2)
    for step, loss in enumerate(losses[:9], 1):
        killed.observe(step, {"loss": loss})
    killed = Guards(spec, tmp_path / "killed")
    killed.begin(8, 2)
    whole.begin(0, 2)

    def go_on(guards: Guards, done: int) -> None:
        for step, loss in enumerate(losses[done:] + [4.0] * 3, done + 1):
            guards.observe(step, {"loss": loss})

    for guards, done in ((whole, 0), (killed, 8)):
        with pytest.raises(GuardTripped):
            go_on(guards, done)

    assert read_state(tmp_path / "whole") == read_state(tmp_path / "killed")
    assert whole.ladder.said == killed.ladder.said
    state = read_state(tmp_path / "whole")
    assert state.tripped is not None
    # median of three is 4 from the window 6..8 on; from step 6 it is in doubt, and 4 is the multiple of 2 before it
    assert (state.tripped.finding.since, state.tripped.to_step) == (6, 4)


def test_warn_only_tells_and_ignore_does_not(tmp_path: Path) -> None:
    said = []
    for action in ("warn", "ignore"):
        guards = Guards(GuardsSpec(window=3, instability={"action": action}), tmp_path / action)  # type: ignore[arg-type]
        guards.begin(0, 1)
        for step, loss in enumerate([1.0] * 4 + [9.0] * 8, 1):
            guards.observe(step, {"loss": loss})
        said.append(len(guards.ladder.said))
    assert said[0] > said[1] == 0
