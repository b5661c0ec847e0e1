"""A soak: scheduled runs one after another, with random faults. Is any run lost, any version promoted twice?

    python benchmarks/soak.py [--quick] [--runs N] [--seed S] [--minutes M]

`posttrain up` starts everything; each run is scheduled as Prefect's scheduler does it. In three of four runs a fault
strikes: the worker and its runs are killed (`worker`: `up` finds them; `heartbeat`: Prefect must find them itself), the
process that computes is killed (`training`), the Prefect server is killed and started again (`server`), the MLflow
server is away for a minute (`mlflow`), or the workspace's disk is full (`disk`, where a small tmpfs can be mounted).
Such a run always finds new data, so it has work from end to end, and its fault comes at a random moment of the time
that such a run takes. After each run the champion is loaded and asked. `--quick` does two runs and kills the worker
once; `--minutes` stops early. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flows.operations import background

PROJECT = Path(__file__).resolve().parent.parent
VOICE = PROJECT / "data/voice_assistant"
FAULTS = ("worker", "heartbeat", "training", "server", "mlflow", "disk")
NO_FAULT, NOTHING_NEW = "none", "nothing new"
ENDS = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
FIRST_ROWS, MORE_ROWS = 6, 4
"""Rows of each of seven intents: at first, and how many more whenever there is new data."""
PATIENCE_SECONDS = 900.0
SETTLE_SECONDS = 12.0
"""A crashed run is scheduled again within this time, or never."""
DISK_MEGABYTES = 3000
"""Enough for what 24 runs leave."""
SPEC = """\
name: soak
task: {kind: intent_slots, instruction: "Turn the command into JSON: intent and slots."}
data:
  train: [{path: train.jsonl.gz, format: intent_slots}]
  test: [{path: test.jsonl.gz, format: intent_slots}]
curate: {validation_rows: 14}
evaluate: {baseline_rows: 14, few_shot_examples: 0, max_new_tokens: 40, resamples: 200}
strategy: {align: never, min_rows: 10}
sft: {method: full, learning_rate: 0.001, num_train_epochs: 4, batch_size: 16, save_steps: 4}
gates:
  after_sft: [{metric: valid_json, at_least: 0.0}]
  release: [{metric: slot_f1, above: champion, significant: false}]
schedule: {cron: "0 3 1 1 *", lost_after_seconds: 75, resume: 3}
resources: {retry_delay_seconds: 0, threads: 1}
"""


@dataclass
class Result:
    """One scheduled run and how it ended."""

    run: int
    rows: int
    fault: str
    state: str = ""
    tries: int = 0
    seconds: float = 0.0
    versions: int = 0
    champion: str = ""
    answers: bool | None = None
    message: str = ""
    happened: str = ""


@dataclass
class Soak:
    """The folder in which everything lies, and what was seen."""

    folder: Path
    random: random.Random
    disk: bool = False
    rows: int = 0
    usual: float = 20.0
    """Seconds of the last run with new data and without a fault."""
    results: list[Result] = field(default_factory=list)
    champions: list[str] = field(default_factory=list)
    registered_twice: int = 0

    def posttrain(self, *words: str) -> str:
        """Run the command; its output. Raises: RuntimeError when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"posttrain {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MLFLOW"))}
        return {
            **kept,
            "PYTHONPATH": str(PROJECT),
            "PREFECT_HOME": str(self.folder / "prefect-home"),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }

    @property
    def up(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / ".posttrain/up.json").read_text()))

    def url(self, name: str) -> str:
        return str(next(part["url"] for part in self.up["parts"] if part["name"] == name))

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """One call to the Prefect server, which may just be starting."""
        for _ in range(60):
            try:
                reply = httpx.request(method, f"{self.url('Prefect')}/api{path}", json=body, timeout=30)
                reply.raise_for_status()
                return reply.json()
            except httpx.HTTPError as error:
                failed = error
                time.sleep(1)
        raise failed

    # --- one run --------------------------------------------------------------------------------------------

    def schedule(self) -> str:
        deployment = self.api("GET", "/deployments/name/retrain/soak")["id"]
        state = {"type": "SCHEDULED", "name": "Scheduled"}
        return str(self.api("POST", f"/deployments/{deployment}/create_flow_run", {"state": state})["id"])

    def state(self, run: str) -> dict[str, Any]:
        return dict(self.api("GET", f"/flow_runs/{run}"))

    def await_state(self, run: str, *types: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := self.state(run))["state_type"] not in types and time.monotonic() < deadline:
            time.sleep(0.5)
        return found

    def ended(self, run: str) -> dict[str, Any]:
        """The run at its end: crashed ones are given the time to be scheduled again."""
        while True:
            found = self.await_state(run, *ENDS)
            if found["state_type"] != "CRASHED":
                return found
            time.sleep(SETTLE_SECONDS)
            if self.state(run)["state_type"] == "CRASHED":
                return found

    def new_data(self) -> None:
        self.rows += MORE_ROWS if self.rows else FIRST_ROWS
        write_rows(VOICE / "train.jsonl.gz", self.folder / "train.jsonl.gz", self.rows)

    def one(self, number: int, fault: str) -> Result:
        if is_new := fault != NOTHING_NEW:
            self.new_data()
        result = Result(number + 1, self.rows, fault)
        began = time.monotonic()
        run = self.schedule()
        if fault in FAULTS:
            self.await_state(run, "RUNNING", *ENDS)
            moment = self.random.uniform(0.05, 0.95)
            time.sleep(moment * self.usual)
            result.happened = f"{self.stage()} ({moment:.0%})"
            getattr(self, f"_{fault}")(run)
        found = self.ended(run)
        if is_new and fault not in FAULTS:
            self.usual = time.monotonic() - began
        result.state, result.tries = str(found["state_name"]), int(found["run_count"])
        result.message = str((found["state"] or {}).get("message") or "")[:200]
        result.seconds = round(time.monotonic() - began, 1)
        self.look(result)
        return result

    def stage(self) -> str:
        """The process that works now, or the flow itself."""
        for process in background.marked(self.up["mark"], "worker"):
            try:
                words = [word for word in process.cmdline() if word.startswith("posttrain.")]
            except psutil.Error:
                continue
            if words:
                return words[0].removeprefix("posttrain.")
        return "the flow"

    # --- faults ---------------------------------------------------------------------------------------------

    def _kill(self, part: str) -> None:
        for process in background.marked(self.up["mark"], part):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass

    def _worker(self, run: str) -> None:
        self._kill("worker")
        self.posttrain("up", "soak.yaml")

    def _heartbeat(self, run: str) -> None:
        self._kill("worker")
        if self.state(run)["state_type"] == "RUNNING":
            self.await_state(run, "CRASHED", "SCHEDULED")
        self.posttrain("up", "soak.yaml")

    def _training(self, run: str) -> None:
        for process in background.marked(self.up["mark"], "worker"):
            try:
                if any(word.startswith("posttrain.") for word in process.cmdline()):
                    process.kill()
            except psutil.Error:
                pass

    def _server(self, run: str) -> None:
        self._kill("Prefect")
        time.sleep(self.random.uniform(1, 8))
        self.posttrain("up", "soak.yaml")

    def _mlflow(self, run: str) -> None:
        self._kill("MLflow")
        time.sleep(60)
        self.posttrain("up", "soak.yaml")

    def _disk(self, run: str) -> None:
        filler = self.folder / ".posttrain/filler"
        try:
            with filler.open("wb") as file:
                while True:
                    file.write(bytes(2**20))
        except OSError:
            pass
        deadline = time.monotonic() + 30
        while self.state(run)["state_type"] == "RUNNING" and time.monotonic() < deadline:
            time.sleep(0.5)
        filler.unlink()

    # --- checks ---------------------------------------------------------------------------------------------

    def look(self, result: Result) -> None:
        """Who is champion, and does it answer?"""
        import mlflow

        mlflow.set_tracking_uri(self.url("MLflow"))
        client = mlflow.MlflowClient()
        try:
            model = client.get_registered_model("soak")
        except mlflow.MlflowException:
            return
        versions = client.search_model_versions("name='soak'")
        result.versions = len(versions)
        self.registered_twice = len(versions) - len({each.tags["posttrain.identity"] for each in versions})
        result.champion = str(model.aliases.get("champion", ""))
        if result.champion:
            if self.champions[-1:] != [result.champion]:
                self.champions.append(result.champion)
            try:
                said = mlflow.pyfunc.load_model("models:/soak@champion").predict(["what is the weather in oslo"])
                result.answers = len(list(said)) == 1
            except Exception as error:
                result.answers, result.message = False, f"champion: {error}"[:200]

    def summary(self, left: int, seconds: float) -> dict[str, Any]:
        final = ("Completed", "Failed", "Cancelled")
        return {
            "runs": len(self.results),
            "completed": sum(each.state == "Completed" for each in self.results),
            "failed": sum(each.state == "Failed" for each in self.results),
            "lost": sum(each.state not in final for each in self.results),
            "resumed": sum(each.tries > 1 for each in self.results),
            "versions": max((each.versions for each in self.results), default=0),
            "champions": self.champions,
            "registered_twice": self.registered_twice,
            "double_promotions": len(self.champions) - len(set(self.champions)),
            "unloadable_champions": sum(each.answers is False for each in self.results),
            "orphans": left,
            "faults": dict(Counter(each.fault for each in self.results)),
            "disk_faults_possible": self.disk,
            "seconds": round(seconds),
        }


def write_rows(source: Path, target: Path, each: int) -> None:
    """The first so many rows of each intent."""
    kept: dict[str, list[bytes]] = defaultdict(list)
    with gzip.open(source) as lines:
        for line in lines:
            intent = json.loads(line.decode("latin-1"))["intent"]
            if len(kept[intent]) < each:
                kept[intent].append(line)
    with gzip.open(target, "wb") as out:
        out.writelines(line for lines in kept.values() for line in lines)


def planned(runs: int, it: Soak) -> list[str]:
    """What happens to each run: the first is left in peace; of eight others two are, and six have each its fault."""
    possible = [name for name in FAULTS if it.disk or name != "disk"]
    found: list[str] = []
    while len(found) < runs - 1:
        some = [*possible, NO_FAULT, NOTHING_NEW]
        it.random.shuffle(some)
        found += some
    return [NO_FAULT, *found[: runs - 1]]


def mount(folder: Path) -> bool:
    """A small disk of its own for the workspace; False where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def soak(folder: Path, runs: int, seed: int, minutes: float, quick: bool) -> dict[str, Any]:
    """Do it in `folder`; print a line a run, and return the summary."""
    began = time.monotonic()
    it = Soak(folder, random.Random(seed))
    it.disk = mount(folder / ".posttrain")
    (folder / "soak.yaml").write_text(SPEC, encoding="utf-8")
    write_rows(VOICE / "test.jsonl.gz", folder / "test.jsonl.gz", 6)
    it.new_data()
    mark = ""
    try:
        print(it.posttrain("up", "soak.yaml"), flush=True)
        mark = it.up["mark"]
        for number, fault in enumerate([NO_FAULT, "worker"] if quick else planned(runs, it)):
            it.results.append(it.one(number, fault))
            print(json.dumps(asdict(it.results[-1])), flush=True)
            if (time.monotonic() - began) / 60 > minutes:
                break
    finally:
        print(it.posttrain("down"), flush=True)
        left = len(background.marked(mark)) if mark else 0
        if it.disk:
            subprocess.run(["umount", str(folder / ".posttrain")], check=False)
    return it.summary(left, time.monotonic() - began)


def main() -> None:
    """Read the options, soak, print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=600.0)
    options = parser.parse_args()
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with tempfile.TemporaryDirectory(prefix="posttrain-soak-") as folder:
        summary = soak(Path(folder), 2 if options.quick else options.runs, options.seed, options.minutes, options.quick)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
