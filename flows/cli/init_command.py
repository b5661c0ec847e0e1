"""`posttrain init`: look at a data file and write the spec to start from."""

from __future__ import annotations

import re
from pathlib import Path

from posttrain.errors import SpecError, WorkspaceError


def write_starter(file: Path | str, out: Path | None, force: bool) -> Path:
    """Write a commented spec for a file, a folder, an address or a data set of the hub.

    By default it goes to `pipelines/<name>.yaml`. Of data that has splits, training takes `train`.

    Raises: DataError for data that cannot be read; SpecError when the spec is there already and `force` is not
    given; WorkspaceError when it cannot be written.
    """
    from posttrain.data.files import splits
    from posttrain.data.look import look
    from posttrain.spec import Source
    from posttrain.starter import starter_spec

    root = Path.cwd()
    data = re.sub(r"^(\w+):/(?=[^/])", r"\1://", str(file))  # what a Path makes of an address
    source = Source(path=data)
    known = splits(source, root, data)
    if len(known) > 1:
        source = Source(path=data, split="train" if "train" in known else known[0])
    summary = look(source, root, where=data, plain_text=True, count=True)
    text = starter_spec(data, summary, root, known)
    target = out or Path("pipelines") / f"{Path(data).name.split('.')[0] or 'pipeline'}.yaml"
    if target.exists() and not force:
        raise SpecError(f"{target}: is there already; give --out another name, or --force to replace it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(f"{target}: cannot be written ({error.strerror}); give --out another place") from error
    rows = f"{summary.rows:,} rows" if summary.rows is not None else "rows not counted"
    files = f"{summary.files:,} files, " if summary.files > 1 else ""
    columns = ", ".join(summary.columns)
    print(f"looked at {data}: {files}{rows}, format {summary.format}, {summary.kind} rows, columns {columns}")
    print(f"wrote {target}; next: posttrain plan {target}")
    return target
