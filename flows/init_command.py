"""`posttrain init`: look at a data file and write the spec to start from."""

from __future__ import annotations

from pathlib import Path

from posttrain.errors import SpecError, WorkspaceError


def write_starter(file: Path, out: Path | None, force: bool) -> Path:
    """Write a commented spec for `file`; by default to `pipelines/<name>.yaml`.

    Raises: DataError for a file that cannot be read; SpecError when the spec is there already and `force` is not
    given; WorkspaceError when it cannot be written.
    """
    from posttrain.data.look import look
    from posttrain.spec import Source
    from posttrain.starter import starter_spec

    root = Path.cwd()
    summary = look(Source(path=str(file)), root, where=str(file))
    text = starter_spec(file, summary, root)
    target = out or Path("pipelines") / f"{file.name.split('.')[0] or 'pipeline'}.yaml"
    if target.exists() and not force:
        raise SpecError(f"{target}: is there already; give --out another name, or --force to replace it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(f"{target}: cannot be written ({error.strerror}); give --out another place") from error
    rows = f"{summary.rows:,} rows" if summary.rows is not None else "rows not counted"
    print(f"looked at {file}: {rows}, format {summary.format}, columns {', '.join(summary.columns)}")
    print(f"wrote {target}; next: posttrain plan {target}")
    return target
