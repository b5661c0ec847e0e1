"""The loop, whole: serve a champion, mine what it got wrong, have it corrected, train again; what was that worth?

    python benchmarks/loop.py [--quick | --medium] [--folder FOLDER]

On real data (SNIPS 2017-06), in a folder of its own, by the commands that a team uses:

1. `posttrain run` trains on some of the training rows and makes a champion.
2. `posttrain serve` serves it, and logs what it answers as traces. A scripted client asks for utterances that are in no
   training row, said carelessly (slang, then typos: `posttrain.evaluation.noise`). Of those who get a wrong answer four
   in five press thumbs down, of those who get a right one one in fifty does.
3. `posttrain mine` sends bad cases to review.
4. A script reviews them: the correction is the row's published label, given as an annotator gives it.
5. `posttrain run`, the same command: the corrected cases join the training rows, but for those held back.
6. For comparison a run of another name learns as many more rows, taken from the same asked ones, but clean: is it the
   bad cases that help, or just more rows?

What it was worth is measured by the pipeline itself on test rows, which nobody asked, reviewed or trained on: the 700
official ones and as many more, kept out of the training rows, as it takes to tell a loss of 0.02. They are asked as
they are (clean), with typos, and in slang. Both models answer the same rows; gains are paired, with 95 % bootstrap
intervals and McNemar's test. The held-back corrected cases are the fourth figure.

The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

PROJECT = Path(__file__).resolve().parent.parent
NAME = "loop"
CONTROL = "control"
SPEC = """\
name: {name}
task: {{kind: intent_slots, instruction: "To JSON."}}
data:
  train: [{{path: data/{train_file}.jsonl.gz, format: intent_slots}}]
  test: [{{path: data/test.jsonl.gz, format: intent_slots}}]
curate: {{validation_rows: {validation}}}
evaluate:
  baseline_rows: 20
  few_shot_examples: 0
  prompt_strategies: [zero-shot]
  batch_size: 256
  max_new_tokens: 112
  slices:
    - {{name: typos, noise: typos, rows: {slice_rows}}}
    - {{name: slang, noise: colloquial, rows: {slice_rows}}}
strategy: {{align: never, min_rows: 100}}
sft:
  {{method: full, optimizer: muon, learning_rate: 3.0e-3, num_train_epochs: {epochs}, batch_size: 48, max_length: 256}}
gates:
  after_sft: [{{metric: valid_json, at_least: 0.01}}]
  release:
    - {{metric: exact_match, not_worse_than: champion, margin: {margin}}}
    - {{metric: exact_match, slice: typos, above: champion}}
    - {{metric: exact_match, slice: slang, above: champion}}
    - {{metric: exact_match, slice: bad_cases, above: champion}}
bad_cases: {{per_run: {per_run}}}
resources: {{retry_delay_seconds: 0}}
"""
HELD_BACK = 0.3
"""The default of `bad_cases.held_back`."""
ASKED_TOGETHER = 4
"""Requests on their way at a time."""
DISLIKED, MISTAKEN = 0.8, 0.02
"""Of the users of a wrong and of a right answer, those who press thumbs down."""
CLEAN, MESSY = "clean", "messy"
"""The test rows as they are; with typos and in slang, both together."""


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    train: int
    asked: int
    per_run: int
    epochs: int
    validation: int
    slice_rows: int
    test: int
    """Of these all official ones, or some if fewer will do; the rest are training rows kept for it."""
    margin: float


SIZES = {
    "full": Size(train=4000, asked=2000, per_run=700, epochs=2, validation=200, slice_rows=700, test=2500, margin=0.02),
    "quick": Size(train=300, asked=120, per_run=60, epochs=3, validation=30, slice_rows=40, test=70, margin=0.1),
    "medium": Size(train=1500, asked=500, per_run=400, epochs=3, validation=60, slice_rows=200, test=400, margin=0.05),
}


def prepare(folder: Path, size: Size) -> list[Mapping[str, str]]:
    """Write the spec and its data; returns the rows that the client asks for, with their labels."""
    from posttrain.data.load import load
    from posttrain.data.text.words import key
    from posttrain.spec.sections.data import Source

    (folder / "data").mkdir(parents=True, exist_ok=True)
    lines = _lines("train")
    random.Random(0).shuffle(lines)
    _write(folder / "data/train.jsonl.gz", lines[: size.train])
    official = _lines("test")
    kept = lines[len(lines) - max(size.test - len(official), 0) :]
    _write(folder / "data/asked.jsonl.gz", lines[size.train :])
    _write(folder / "data/test.jsonl.gz", (official[:: max(len(official) // size.test, 1)] + kept)[: size.test])
    for name, rows_of in ((NAME, "train"), (CONTROL, CONTROL)):
        text = SPEC.format(**vars(size), name=name, train_file=rows_of)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")

    def rows(name: str) -> list[dict[str, str]]:
        return load([Source(path=f"data/{name}.jsonl.gz", format="intent_slots")], folder, "train").rows

    taken = {key(row["prompt"]) for name in ("train", "test") for row in rows(name)}
    whole = [row for row in rows("asked") if "\ufffd" not in row["prompt"]]  # some lines are not UTF-8
    left = {key(row["prompt"]): row for row in whole if key(row["prompt"]) not in taken}
    return list(left.values())[: size.asked]


def prepare_control(folder: Path, size: Size, more: int) -> None:
    """The first run's rows and so many more, of those that the client could have asked for, as they are."""
    lines = _lines("train")
    random.Random(0).shuffle(lines)
    _write(folder / f"data/{CONTROL}.jsonl.gz", lines[: size.train + more])


def _lines(split: str) -> list[bytes]:
    with gzip.open(PROJECT / f"data/voice_assistant/{split}.jsonl.gz") as lines:
        return lines.readlines()


def _write(path: Path, lines: Sequence[bytes]) -> None:
    with gzip.open(path, "wb") as out:
        out.writelines(lines)


def posttrain(folder: Path, *words: str) -> float:
    """Run a command as a user would; returns its seconds. Raises: SystemExit with what it said, if it fails."""
    began = time.monotonic()
    command = [sys.executable, "-c", "from flows.cli import main; main()", *words]
    done = subprocess.run(command, cwd=folder, env=_environment(folder), capture_output=True, text=True, check=False)
    print(f"$ posttrain {' '.join(words)}\n{done.stdout}", flush=True)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    return time.monotonic() - began


def _environment(folder: Path) -> dict[str, str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "160",
    }
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "POSTTRAIN_FEEDBACK_URL", "POSTTRAIN_SERVE_TOKEN"):
        environment.pop(name, None)
    return environment


def carelessly(row: Mapping[str, str], seed: int = 7) -> str:
    """The utterance in slang, then with typos; what the answer repeats is left alone, so its label stays right."""
    from posttrain.evaluation.noise import noisy, repeated

    keep = list(repeated(row["completion"], row["prompt"]))
    return noisy(noisy(row["prompt"], "colloquial", keep, seed), "typos", keep, seed)


def ask(folder: Path, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Start `posttrain serve`, ask it as an application does, press thumbs as people do, and end it when all is logged.

    Returns what was asked, and told.
    """
    port = _free_port()
    command = [sys.executable, "-c", "from flows.cli import main; main()", "serve", NAME, "--port", str(port)]
    with (folder / "serve.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=_environment(folder), stdout=log, stderr=subprocess.STDOUT)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as client:
            _until(lambda: client.get("/health").status_code == 200, server)
            with ThreadPoolExecutor(ASKED_TOGETHER) as threads:
                told = list(threads.map(lambda row: _ask_one(client, row), rows))
            _until(lambda: client.get("/health").json()["traces"]["waiting"] == 0, server)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
    return {
        "requests": len(rows),
        "right": sum(right for right, _ in told),
        "thumbs_down": sum(down for _, down in told),
    }


def _ask_one(client: httpx.Client, row: Mapping[str, str]) -> tuple[bool, bool]:
    """(whether the answer was right, whether its user disliked it)."""
    from posttrain.evaluation.metrics import METRICS, Answer

    reply = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": carelessly(row)}]})
    reply.raise_for_status()
    answer = Answer("intent_slots", row["completion"], reply.json()["choices"][0]["message"]["content"])
    exact = METRICS["exact_match"]
    is_right = exact.value(exact.cells([answer])) == 1
    dislikes = _drawn(row["id"]) < (MISTAKEN if is_right else DISLIKED)
    if dislikes:
        client.post("/v1/feedback", json={"id": reply.json()["id"], "thumb": "down"}).raise_for_status()
    return is_right, dislikes


def _until(holds: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    """Wait. Raises: SystemExit when the server ends, or after a quarter of an hour."""
    for _ in range(1800):
        if server.poll() is not None:
            raise SystemExit("the server ended; see serve.log")
        try:
            if holds():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise SystemExit("the server did not come that far in a quarter of an hour; see serve.log")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _drawn(name: str) -> float:
    return int.from_bytes(hashlib.sha256(f"thumb {name}".encode()).digest()[:8]) / 2**64


def review(folder: Path, rows: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """Correct every bad case by its published label, as an annotator does."""
    from posttrain.data.text.words import key
    from posttrain.feedback import Answer
    from posttrain.feedback.held_back import side

    labels = {key(carelessly(row)): row["completion"] for row in rows}
    store = opened(folder)
    items = store.items(kind="correction", tag="bad_case")
    known = [item for item in items if key(item.prompt) in labels]  # what was masked in a trace has no label
    store.answer_all([Answer(item.id, "script", "correction", text=labels[key(item.prompt)]) for item in known])
    held = sum(side(item.prompt, HELD_BACK) == "regression" for item in known)
    unneeded = sum(item.outputs[0].text == labels[key(item.prompt)] for item in known)
    found = {"reviewed": len(known), "masked": len(items) - len(known), "were_right": unneeded}
    return {**found, "learnt_from": len(known) - held, "held_back": held}


def opened(folder: Path) -> Any:
    """The feedback store, where the spec has it."""
    from posttrain.feedback import FeedbackStore

    return FeedbackStore.open(f"sqlite:///{folder / '.posttrain/feedback.db'}", NAME)


def outcomes(folder: Path) -> list[Any]:
    """How the runs in the folder ended, in order."""
    from posttrain.outcome import Outcome

    files = sorted((folder / ".posttrain/reports").rglob("outcome.json"), key=lambda path: path.stat().st_mtime)
    return [Outcome.model_validate_json(path.read_bytes()) for path in files]


def _part(scores: Any, part: str) -> Any:
    """The scores of the clean rows, of a slice, or of both messy slices together."""
    if part != MESSY:
        return scores if part == CLEAN else scores.slices[part]
    import pyarrow as arrow
    from pyarrow import parquet

    both = [scores.slices[name] for name in ("typos", "slang")]
    path = Path(both[0].outputs.uri).with_name(f"{MESSY}.parquet")
    parquet.write_table(arrow.concat_tables(parquet.read_table(each.outputs.uri) for each in both), path)
    rows = sum(each.rows for each in both)
    outputs = both[0].outputs.model_copy(update={"uri": str(path), "rows": rows})
    return both[0].model_copy(update={"rows": rows, "outputs": outputs})


def _value(scores: Any, metric: str) -> float:
    """The metric over the outputs behind some scores."""
    from pyarrow import parquet

    from posttrain.evaluation.metrics import METRICS

    entry = METRICS[metric]
    table = parquet.read_table(scores.outputs.uri, columns=list(entry.columns)).to_pydict()
    return entry.value(list(zip(*(table[name] for name in entry.columns), strict=True)))


def worth(first: Any, second: Any) -> dict[str, Any]:
    """The second run's model against the first's on the test rows: clean, with typos, in slang, corrected cases."""
    from posttrain.gates import compare

    before, after = (outcome.scores[-1] for outcome in (first, second))
    found: dict[str, Any] = {}
    for part in (CLEAN, "typos", "slang", MESSY):
        one, two = (_part(scores, part) for scores in (before, after))
        for metric in ("exact_match", "slot_f1", "intent_accuracy"):
            gain = compare(two, one, metric)
            assert gain is not None
            found.setdefault(part, {})[metric] = {
                "before": round(_value(one, metric), 4),
                "after": round(_value(two, metric), 4),
                "gain": [round(value, 4) for value in (gain.value, gain.low, gain.high)],
                "p": float(f"{gain.p_value:.2g}"),
                "rows": gain.rows,
            }
    return found


def main() -> None:
    """Go round once, and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="few rows: shows that it goes round, no more")
    options.add_argument("--medium", action="store_true", help="some: for a busy machine")
    options.add_argument("--folder", type=Path, help="a new folder to work in, which is kept; else one that is not")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="posttrain-loop-") as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        print(json.dumps(go_round(folder, SIZES["quick" if given.quick else "medium" if given.medium else "full"])))


def go_round(folder: Path, size: Size) -> dict[str, Any]:
    """Train, serve, mine, review, train again; the figures of all of it."""
    rows = prepare(folder, size)
    seconds = {"first_run": posttrain(folder, "run", f"{NAME}.yaml")}
    began = time.monotonic()
    served = ask(folder, rows)
    seconds["serving"] = time.monotonic() - began
    seconds["mining"] = posttrain(folder, "mine", f"{NAME}.yaml")
    reviewed = review(folder, rows)
    seconds["mining_again"] = posttrain(folder, "mine", f"{NAME}.yaml")
    seconds["second_run"] = posttrain(folder, "run", f"{NAME}.yaml")
    first, second = outcomes(folder)[-2:]
    prepare_control(folder, size, reviewed["learnt_from"])
    seconds["control_run"] = posttrain(folder, "run", f"{CONTROL}.yaml")
    control = outcomes(folder)[-1]
    return {
        "trained_on": size.train,
        **served,
        **reviewed,
        "first": first.ending,
        "second": second.ending,
        "headline": second.headline,
        "bad_cases": second.bad_cases,
        "worth": worth(first, second),
        "worth_of_as_many_clean_rows": worth(first, control),
        "against_as_many_clean_rows": worth(control, second),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }


if __name__ == "__main__":
    main()
