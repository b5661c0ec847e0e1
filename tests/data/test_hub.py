"""A data set of the hub: the real client against a small server here that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "train.jsonl": b"".join(b'{"question": "q%d", "answer": "a%d"}\n' % (n, n) for n in range(30)),
    "test.jsonl": b'{"question": "t", "answer": "b"}\n',
}
SCRIPT = b"raise SystemExit('code of a data set was run')"

READ = """
import json, sys
from pathlib import Path
from posttrain.data.load import digests, load
from posttrain.data.look import look
from posttrain.errors import DataError
from posttrain.spec import Source

def read(**settings):
    source = Source(**settings)
    try:
        rows = load([source], Path.cwd(), "train").rows
        files = digests([source], Path.cwd(), "train")[0]["files"]
        return [len(rows), rows[-1]["source"], rows[-1]["completion"], files]
    except DataError as error:
        return str(error)

print(json.dumps([read(**settings) for settings in json.loads(sys.argv[1])]))
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """What the client asks for: the commit, the tree, and files, also in parts."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        files = FILES | ({"code.py": SCRIPT, "name.py": SCRIPT} if "/owner/code" in path else {})
        if re.fullmatch(r"/api/datasets/owner/\w+/tree/.*", path):
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": _sha(data)} for name, data in files.items()
            ]
            self._send(json.dumps(entries if path.endswith(COMMIT) else []).encode())
        elif found := re.fullmatch(r"/api/datasets/(owner/\w+)(/revision/.*)?", path):
            siblings = [{"rfilename": name} for name in files]
            self._send(json.dumps({"_id": "1", "id": found[1], "sha": COMMIT, "siblings": siblings}).encode())
        elif (found := re.fullmatch(rf"/datasets/owner/\w+/resolve/{COMMIT}/(.*)", path)) and found[1] in files:
            self._file(files[found[1]])
        else:
            self._send(b"{}", 404, {"X-Error-Code": "EntryNotFound"})

    def _file(self, data: bytes) -> None:
        headers = {"ETag": f'"{_sha(data)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if part := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, stop = int(part[1]), min(int(part[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{stop}/{len(data)}"
            self._send(data[start : stop + 1], 206, headers)
        else:
            self._send(data, 200, headers)

    def _send(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


def _sha(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What reading gives, in a process of its own: the client takes the hub's address when it is imported."""
    asked = [
        {"path": "owner/name", "split": "train"},
        {"path": "hf://datasets/owner/name", "split": "test", "revision": COMMIT},
        {"path": "owner/name"},
        {"path": "owner/name", "split": "dev"},
        {"path": "owner/code", "split": "train"},
    ]
    home = tmp_path_factory.mktemp("hub")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = subprocess.run(
            [sys.executable, "-c", READ, json.dumps(asked)],
            cwd=home,
            env={
                "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
                "HF_HOME": str(home / "hf"),
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_split_streams_at_the_commit_that_its_branch_stands_for(answers: list[Any]) -> None:
    assert answers[0] == [30, "hf://owner/name/train:30", "a29", {"hf://owner/name/train": COMMIT}]
    assert answers[1] == [1, "hf://owner/name/test:1", "b", {"hf://owner/name/test": COMMIT}]


def test_one_split_must_be_named(answers: list[Any]) -> None:
    assert answers[2] == "owner/name: holds the splits train, test; set data.train[0].split to one of them"
    assert answers[3] == "owner/name: found the splits train, test, expected dev; correct data.train[0].split"


def test_code_of_a_data_set_is_refused(answers: list[Any]) -> None:
    assert answers[4].startswith("owner/code: cannot be opened (")
    assert "script" in answers[4].lower()
