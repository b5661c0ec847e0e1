"""Kill -9 in the middle of training: the task is tried again, and the same model comes out, bit for bit."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from conftest import Pipeline

# The flow up to SFT: what comes after is not the matter here.
FLOW = """
import sys
from prefect import flow
from flows.prepare import prepare_rows
from tasks.sft import train_sft
from tasks.start import start

@flow
def up_to_sft(spec_path):
    with start(spec_path) as run:
        return train_sft(run, prepare_rows(run))

result = up_to_sft(sys.argv[1])
print("RESTARTS", result.restarts, "FOLDER", result.model.base)
"""


def test_a_killed_sft_resumes_to_the_same_weights(pipeline: Pipeline, tmp_path: Path) -> None:
    project = pipeline.project
    whole = next((project.root / ".posttrain/stages").glob("sft-*"))
    shutil.copytree(project.root / "data", tmp_path / "data")
    shutil.copy(project.spec, tmp_path)
    for stage in ("validate", "curate"):
        for folder in (project.root / ".posttrain/stages").glob(f"{stage}-*"):
            shutil.copytree(folder, tmp_path / ".posttrain/stages" / folder.name)
    flow = subprocess.Popen(
        [sys.executable, "-c", FLOW, "small.yaml"],
        cwd=tmp_path,
        env={**project.environment, "PREFECT_HOME": str(tmp_path / "prefect-home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _kill_after_first_checkpoint(flow, tmp_path / ".posttrain")
        output, _ = flow.communicate(timeout=300)
    finally:
        flow.kill()
    assert flow.returncode == 0, output
    assert "RESTARTS 1" in output, output
    resumed = next((tmp_path / ".posttrain/stages").glob("sft-*"))
    assert _weights(resumed) == _weights(whole)


def _kill_after_first_checkpoint(flow: subprocess.Popen[str], workspace: Path) -> None:
    """Kill the SFT process as soon as it has left a complete checkpoint."""
    until = time.monotonic() + 240
    while time.monotonic() < until and flow.poll() is None:
        if list(workspace.glob("partial/sft-*/checkpoints/checkpoint-*/complete")):
            for child in psutil.Process(flow.pid).children(recursive=True):
                if "posttrain.training.sft" in child.cmdline():
                    os.kill(child.pid, signal.SIGKILL)
                    return
        time.sleep(0.02)
    flow.kill()
    output, _ = flow.communicate()
    raise AssertionError(f"no checkpoint was seen before SFT ended: {output}")


def _weights(stage: Path) -> str:
    return hashlib.sha256((stage / "model/model.safetensors").read_bytes()).hexdigest()
