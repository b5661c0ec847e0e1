"""A stage is found when nothing that decides it changed, and leaves nothing half-done."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from posttrain.artifacts import Done, Frozen, Stage, Workspace, find, run_stage
from posttrain.errors import DataError, WorkspaceError


class Count(Frozen):
    rows: int
    uri: str


def stage(rows: int = 3) -> Stage[Count]:
    return Stage("count", {"rows": rows}, Count, code=("posttrain.errors",), libraries=("pydantic",))


def count(partial: Path, final: Path) -> Count:
    (partial / "rows.txt").write_text("one\ntwo\nthree\n")
    return Count(rows=3, uri=str(final / "rows.txt"))


def test_a_finished_stage_is_found_and_not_run_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first = run_stage(workspace, stage(), count)

    def never(partial: Path, final: Path) -> Count:
        raise AssertionError("ran again")

    second = run_stage(workspace, stage(), never)
    assert (first.reused, second.reused) == (False, True)
    assert second.result == first.result
    assert Path(second.result.uri).read_text() == "one\ntwo\nthree\n"


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_text("one\ntw")])
def test_a_stage_whose_output_is_gone_or_cut_off_runs_again(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    workspace = Workspace(tmp_path)
    first = run_stage(workspace, stage(), count)
    spoil(Path(first.result.uri))
    assert find(workspace, stage()) is None
    again = run_stage(workspace, stage(), count)
    assert not again.reused
    assert Path(again.result.uri).read_text() == "one\ntwo\nthree\n"
    assert run_stage(workspace, stage(), count).reused


TWO = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_artifacts import Count, Workspace, run_stage, stage

def slowly(partial, final):
    mine = partial / "rows.txt"
    mine.write_text("one")
    time.sleep(1.5)
    assert mine.read_text() == "one"
    mine.write_text("one two three")
    return Count(rows=3, uri=str(final / "rows.txt"))

print(run_stage(Workspace(Path(sys.argv[1])), stage(), slowly).reused)
"""


def test_two_runs_that_come_to_the_same_stage_do_it_once(tmp_path: Path) -> None:
    """Two pipelines over the same rows, in one workspace, started by one schedule."""
    command = [sys.executable, "-c", TWO, str(tmp_path), str(Path(__file__).parent)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(run.communicate(timeout=60)[0].strip() for run in runs)
    assert said == ["False", "True"]
    assert list((tmp_path / "partial").iterdir()) == [], "no lock is left"


def test_other_inputs_are_another_stage(tmp_path: Path) -> None:
    run_stage(Workspace(tmp_path), stage(3), count)
    assert find(Workspace(tmp_path), stage(4)) is None


def test_a_crash_keeps_the_partial_folder_and_publishes_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)

    def crash(partial: Path, final: Path) -> Count:
        (partial / "checkpoint").write_text("half")
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError):
        run_stage(workspace, stage(), crash)
    assert find(workspace, stage()) is None
    assert (workspace.partial(stage()) / "checkpoint").read_text() == "half"


def test_a_user_error_leaves_no_trace(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "new")

    def refuse(partial: Path, final: Path) -> Count:
        (partial / "some").write_text("thing")
        raise DataError("rows.jsonl: empty file")

    with pytest.raises(DataError):
        run_stage(workspace, stage(), refuse)
    assert not (tmp_path / "new").exists()


def test_a_damaged_manifest_counts_as_not_done(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    done = run_stage(workspace, stage(), count)
    (done.folder / "manifest.json").write_text('{"result": {"rows": ')
    assert find(workspace, stage()) is None
    again = run_stage(workspace, stage(), count)
    assert not again.reused
    assert isinstance(find(workspace, stage()), Done)


def test_the_manifest_tells_what_made_the_output(tmp_path: Path) -> None:
    done = run_stage(Workspace(tmp_path), stage(), count)
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert manifest["inputs"] == {"rows": 3}
    assert set(manifest["libraries"]) == {"pydantic"}
    assert set(manifest["code"]) == {"posttrain.errors"}


def test_an_unwritable_workspace_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="not writable"):
        Workspace(tmp_path / "file" / "inside").check_writable()
    Workspace(tmp_path / "fresh").check_writable()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
