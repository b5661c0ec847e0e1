"""What training is taught of one row: its tokens, and which of them the loss counts. Nothing is trained or written.

The tokens come from the functions that training itself calls (`training.rows`). A row is one of those that curation
chose, once it has run, and else one of the files', with the task's instruction. Knows no terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from posttrain.artifacts import DatasetRef, Frozen
from posttrain.errors import DataError, SpecError
from posttrain.models.end_row import note_on_end
from posttrain.models.template import Ending, rendered
from posttrain.prompts import PLAIN_TEMPLATE, asked
from posttrain.training import rows as to_tokens
from posttrain.training.sft import supervised_ids

if TYPE_CHECKING:
    import polars as pl

    from posttrain.data.curate import CurateResult
    from posttrain.spec import PipelineSpec

Stage = Literal["sft", "dpo"]
Row = dict[str, Any]


class Token(Frozen):
    """One token as text, and whether the loss counts it."""

    id: int
    text: str
    trained: bool


class Taught(Frozen):
    """A row as one sequence; of a pair there are two, `chosen` and `rejected`."""

    name: str
    tokens: tuple[Token, ...]

    @property
    def trained(self) -> int:
        """How many tokens the loss counts."""
        return sum(token.trained for token in self.tokens)


class Preview(Frozen):
    """A row, what is taught of it, and what to mind."""

    row: str
    source: str
    curated: bool
    taught: tuple[Taught, ...]
    facts: dict[str, str]
    notes: tuple[str, ...]


# --- which row ---------------------------------------------------------------------------------------------


def chosen_row(
    spec: PipelineSpec, root: Path, curated: CurateResult | None, stage: Stage, number: int = 1, key: str | None = None
) -> Row:
    """The `number`-th row that the stage would train on (1 is the first), or the one that `key` means: its id, the
    beginning of that, or file:line.

    Raises: `DataError` when there is no such row; `SpecError` when the spec gives the stage no rows.
    """
    import polars as pl

    from posttrain.data.account.story import PLACE

    if number < 1:
        raise SpecError(f"posttrain preview: found --row {number}, expected 1 for the first row, or more")
    frames = _curated_rows(curated, stage) if curated else _raw_rows(spec, root, stage)
    seen = 0
    for frame in frames:
        if key is not None:
            place = (pl.col("source") == key) | pl.col("source").str.ends_with(f"/{key}")
            fits = frame.filter(place if PLACE.match(key) else pl.col("id").str.starts_with(key.lower()))
            if fits.height:
                return fits.row(0, named=True)
        elif number <= seen + frame.height:
            return frame.row(number - 1 - seen, named=True)
        seen += frame.height
    wanted = f"row {key}" if key is not None else f"row {number:,}"
    where = "the curated rows" if curated else "the data files"
    raise DataError(f"{wanted}: not among {where} of {stage}, which are {seen:,}; give --row, or --id as file:line")


def _curated_rows(curated: CurateResult, stage: Stage) -> Iterator[pl.DataFrame]:
    from posttrain.data.table import Table

    ref: DatasetRef | None = curated.train if stage == "sft" else curated.preference
    if ref is None:
        raise _no_pairs()
    table = Table(Path(ref.uri))
    if stage == "dpo" and "chosen" not in table.columns:
        raise _no_pairs()
    yield from table.batches()


def _raw_rows(spec: PipelineSpec, root: Path, stage: Stage) -> Iterator[pl.DataFrame]:
    """Rows of the files that can be read, under the task's instruction where they have none."""
    import polars as pl

    from posttrain.data import load

    split = "train" if stage == "sft" else "preference"
    sources = getattr(spec.data, split)
    if not sources or (stage == "dpo" and load.row_kind(sources, root, split) != "preference"):
        raise _no_pairs()
    told = pl.when(pl.col("system") == "").then(pl.lit(spec.task.instruction)).otherwise(pl.col("system"))
    for frame in load.read(sources, root, split):
        yield frame.filter(pl.col("problem_rule") == "").with_columns(system=told)


def _no_pairs() -> SpecError:
    return SpecError(
        "posttrain preview --stage dpo: data.preference holds no pairs of a chosen and a rejected answer, expected "
        "some; give them, or leave --stage out: pairs that the model makes itself are tokenised alike"
    )


# --- what is taught of it ----------------------------------------------------------------------------------


def preview(
    row: Row,
    stage: Stage,
    tokenizer: Any,
    max_length: int,
    curated: bool,
    assistant_turns: Literal["all", "last"] = "all",
    adapted: Path | None = None,
) -> Preview:
    """What the stage is taught of the row. The tokenizer is `load_tokenizer`'s, `assistant_turns` is `sft`'s.

    `adapted` is the base's folder where an adapter is trained on it, which cannot teach every end.
    """
    ending: Ending = tokenizer.ending
    faint = note_on_end(adapted, ending.token, ending.id) if adapted else ""
    taught = tuple(_taught(row, stage, tokenizer, assistant_turns))
    return Preview(
        row=str(row["id"]),
        source=str(row.get("source") or ""),
        curated=curated,
        taught=taught,
        facts=_facts(tokenizer, ending),
        notes=(*ending.notes, *([faint] if faint else ()), *_on_row(row, stage, tokenizer, ending, taught, max_length)),
    )


def _taught(row: Row, stage: Stage, tokenizer: Any, assistant_turns: Literal["all", "last"]) -> Iterator[Taught]:
    if stage == "sft":
        (ids,), (mask,), _ = supervised_ids([row], tokenizer, assistant_turns)
        yield Taught(name="row", tokens=_tokens(tokenizer, ids, mask))
        return
    (prompt,) = to_tokens.prompt_ids([row], tokenizer)
    for name in ("chosen", "rejected"):
        (answer,) = to_tokens.completion_ids([row[name]], tokenizer)
        mask = [0] * len(prompt) + [1] * len(answer)
        yield Taught(name=name, tokens=_tokens(tokenizer, prompt + answer, mask))


def _tokens(tokenizer: Any, ids: Sequence[int], mask: Sequence[int]) -> tuple[Token, ...]:
    return tuple(
        Token(id=each, text=_text(tokenizer, each), trained=bool(trained))
        for each, trained in zip(ids, mask, strict=True)
    )


def _text(tokenizer: Any, token: int) -> str:
    """A token's text; a part of a character as the vocabulary writes it."""
    text = str(tokenizer.decode([token]))
    return str(tokenizer.convert_ids_to_tokens(token)) if "\ufffd" in text or not text else text


def _facts(tokenizer: Any, ending: Ending) -> dict[str, str]:
    plain = tokenizer.chat_template == PLAIN_TEMPLATE
    ends = ", ".join(f"{tokenizer.convert_ids_to_tokens(each)} ({each})" for each in ending.ids)
    return {
        "chat template": "plain paragraphs, for the model has none" if plain else "the model's own",
        "it writes after an answer": repr(ending.written),
        "answers are taught to end with": f"{ending.token} ({ending.id})",
        "generation ends at": ends,
        "padding": f"{tokenizer.pad_token} ({tokenizer.pad_token_id})",
    }


def _on_row(
    row: Mapping[str, Any], stage: Stage, tokenizer: Any, ending: Ending, taught: Sequence[Taught], max_length: int
) -> Iterator[str]:
    setting = "sft.max_length" if stage == "sft" else "align.max_length"
    longest = max(len(each.tokens) for each in taught)
    if longest > max_length:
        yield f"{longest:,} tokens are more than {setting} {max_length:,}: training leaves the row out"
    for each in taught:
        last = next((token for token in reversed(each.tokens) if token.trained), None)
        if last is None:
            yield f"{each.name}: the loss counts no token, so nothing is taught"
        elif last.id != ending.id:
            yield f"{each.name}: the last token that is taught is {last.text!r}, no end: nothing teaches to stop"
        pairs = zip(each.tokens, each.tokens[1:], strict=False)
        if any(token.id == ending.id and token.trained and after.trained for token, after in pairs):
            yield f"{each.name}: {ending.token} stands inside an answer: a model would learn to stop there"
    turns = asked(row)
    answer = {"role": "assistant", "content": str(row["completion" if stage == "sft" else "chosen"])}
    if not rendered(tokenizer, [*turns, answer], ask=False).startswith(rendered(tokenizer, turns)):
        yield "the chat template writes a prompt otherwise once it has its answer: earlier turns look other than asked"
