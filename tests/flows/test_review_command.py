"""`posttrain review` serves its page on this machine only, lets in who has a link, and ends with Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from review_site import ITEMS, RATED

from flows.operations.prefect_server import free_port
from posttrain.feedback import Answer, FeedbackStore

POSTTRAIN = str(Path(sys.executable).parent / "posttrain")
SPEC = "name: small\ntask: {kind: text}\ndata: {train: train.jsonl, test: test.jsonl}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("POSTTRAIN_FEEDBACK_URL", raising=False)
    (tmp_path / "small.yaml").write_text(SPEC)
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"prompt": split, "completion": "An answer of its own."}))
    store = FeedbackStore.open(f"sqlite:///{tmp_path}/.posttrain/feedback.db", "small")
    store.add(ITEMS)
    store.answer(Answer(RATED.id, "ann", "rating", rating=4))
    store.close()
    return tmp_path


def test_a_link_a_page_an_end(folder: Path) -> None:
    port = free_port()
    command = [POSTTRAIN, "review", "small.yaml", "--annotator", "ann", "--annotator", "bo", "--port", str(port)]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = ""
    try:
        for line in process.stdout:
            said += line
            if line.startswith("Each link"):
                break
        links = dict(re.findall(rf"^(\w+)  http://127\.0\.0\.1:{port}/login#(\S+)$", said, re.MULTILINE))
        assert links.keys() == {"ann", "bo"}
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=20), timeout=30
        ) as client:
            page = client.get("/login").text
            word = re.search(r'name="csrf" content="(\w+)"', page)
            assert word
            headers = {"X-CSRF-Token": word.group(1)}
            assert client.post("/login", json={"token": links["bo"]}, headers=headers).status_code == 200
            assert 'data-kind="ranking"' in client.get("/").text
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said + rest
    assert rest.strip() == "stopped"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["review", "small.yaml", "--host", "0.0.0.0"], "expected --url"),
        (["review", "small.yaml", "--pairs", "5"], "sampled no pairs"),
        (["review", "small.yaml", "--annotator", "a b"], "annotator: found 'a b'"),
        (["feedback", "import", "small.yaml", "none.json", "--from", "argilla"], "none.json: no such file"),
        (["feedback", "export", "small.yaml", "x.json", "--to", "excel"], "found tool 'excel'"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    folder: Path,
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _run(folder, arguments, monkeypatch) == 2
    assert words in capsys.readouterr().err


def test_feedback_goes_out_and_comes_back(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run(folder, ["feedback", "export", "small.yaml", "out.json", "--to", "label-studio"], monkeypatch) == 0
    assert "6 items and 1 answers written to out.json" in capsys.readouterr().out
    assert _run(folder, ["feedback", "import", "small.yaml", "out.json", "--from", "label-studio"], monkeypatch) == 0
    assert "0 new items, 0 new answers; 1 answers were there already" in capsys.readouterr().out


def _run(folder: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    from flows.cli import app

    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    return int(ended.value.code or 0)
