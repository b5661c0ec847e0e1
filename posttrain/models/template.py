"""How an answer ends: what the chat template writes after it, the tokenizer's end-of-text token, the generation
configuration's. They have to be one token, or a model is taught one end and listened to for another, and never stops.

`settle` finds the right one, mends the tokenizer by it and says so in a line; `agree` has a model's configurations say
the same, so that it is saved with the model; `rendered` writes a conversation as the template can take it. Knows
nothing of rows, training or weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from posttrain.errors import ModelError
from posttrain.prompts import Message, messages

INSTRUCTION, QUESTION, ANSWER = "Add the numbers.", "What is 4 and 3?", "It is seven."
PADDING = ("<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>", "<|vision_pad|>", "<pad_token>")
"""What a vocabulary may hold for padding though the tokenizer names none, the likeliest first."""


@dataclass(frozen=True)
class Ending:
    """The token that ends an answer, and what was found on the way.

    `written` is what the chat template writes after an answer; `others` are further tokens that end a text, such as
    the tokenizer's own before it was mended; `folds_system`: the template takes no system message, so that it is put
    before the first question; `notes` are what a user should know, a line each.
    """

    token: str
    id: int
    written: str
    others: tuple[int, ...] = ()
    folds_system: bool = False
    notes: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[int, ...]:
        """Every token that ends a text."""
        return (self.id, *self.others)


def settle(tokenizer: Any, name: str, vocabulary: int | None = None, configured: Sequence[int] = ()) -> Ending:
    """Have the tokenizer end texts with the token that its chat template ends answers with, and pad with another.

    `name` is the model's, for errors; `vocabulary` the number of tokens that the model has; `configured` the ends of
    its generation configuration. What was found is kept as `tokenizer.ending`.
    Raises: `ModelError` where no token ends an answer, where the model does not have that token, and for a template
    that cannot be rendered.
    """
    own, own_id = tokenizer.eos_token, tokenizer.eos_token_id
    before, after = _around_answer(tokenizer, name)
    end = _end_of_turn(tokenizer, before, after)
    if end is None and own_id is None:
        raise ModelError(
            f"{name}: no token ends an answer: its chat template writes {after!r} after one, and its tokenizer has no "
            "eos_token; name one in tokenizer_config.json, or a model trained on it would never stop"
        )
    notes = [*_notes_on_end(tokenizer, own, end, after)]
    if end is not None and end != own:
        tokenizer.add_special_tokens({"eos_token": end})  # it is there already; this makes it one that decoding skips
    end_id = int(tokenizer.eos_token_id)
    _check_known(name, tokenizer.eos_token, end_id, vocabulary)
    if end in (None, own) and configured and end_id not in configured:
        shown = ", ".join(str(tokenizer.convert_ids_to_tokens(each)) for each in configured)
        notes.append(
            f"generation_config.json ends texts with {shown} alone: {tokenizer.eos_token} is added, and saved with the "
            "trained model"
        )
    others = dict.fromkeys(each for each in (own_id, *configured) if each is not None and each != end_id)
    notes += _settle_padding(tokenizer, end_id, tuple(others), vocabulary)
    folds = not _takes_system(tokenizer)
    if folds:
        notes.append("the chat template takes no system message: the instruction is put before the first question")
    ending = Ending(tokenizer.eos_token, end_id, after, tuple(others), folds, tuple(notes))
    tokenizer.ending = ending
    return ending


def ending_of(tokenizer: Any) -> Ending | None:
    """What `settle` found; None for a tokenizer that it has not seen."""
    found = getattr(tokenizer, "ending", None)
    return found if isinstance(found, Ending) else None


def agree(model: Any, tokenizer: Any) -> None:
    """Have a model's configurations name the tokenizer's end and padding, the end first among those that there are."""
    ending = ending_of(tokenizer)
    if ending is None:
        return
    config, generation = model.config.get_text_config(), model.generation_config
    there = generation.eos_token_id
    listed = there if isinstance(there, list) else [there]
    ends = list(dict.fromkeys([*ending.ids, *(each for each in listed if each is not None)]))
    generation.eos_token_id = ends if len(ends) > 1 else ends[0]
    config.eos_token_id = ending.id
    generation.pad_token_id = config.pad_token_id = tokenizer.pad_token_id


def rendered(tokenizer: Any, turns: Sequence[Message], ask: bool = True) -> str:
    """A conversation through the chat template; with `ask`, up to where the answer begins.

    Raises: `ModelError` for turns that the template refuses.
    """
    from jinja2 import TemplateError

    told = folded(tokenizer, turns)
    try:
        return str(tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=ask))
    except (TemplateError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        roles = ", ".join(turn["role"] for turn in told)
        raise ModelError(
            f"{tokenizer.name_or_path}: its chat template refuses a conversation of {roles} ({reason}); correct "
            "chat_template, or the rows"
        ) from error


def folded(tokenizer: Any, turns: Sequence[Message]) -> list[Message]:
    """The turns as the template can take them: the instruction before the first question, where it takes no system."""
    ending, told = ending_of(tokenizer), list(turns)
    if ending is None or not ending.folds_system or len(told) < 2 or told[0]["role"] != "system":
        return told
    return [{**told[1], "content": f"{told[0]['content']}\n\n{told[1]['content']}"}, *told[2:]]


# --- what the template writes ------------------------------------------------------------------------------


def _around_answer(tokenizer: Any, name: str) -> tuple[str, str]:
    """What the chat template writes before and after an answer. Raises: `ModelError`."""
    before, found, after = rendered(tokenizer, messages("", QUESTION, ANSWER), ask=False).rpartition(ANSWER)
    if not found:
        raise ModelError(
            f"{name}: its chat template leaves out what the assistant says, so nothing can be taught; correct "
            "chat_template"
        )
    return before, after


def _takes_system(tokenizer: Any) -> bool:
    """Whether the template writes a system message, rather than refuse it or pass it over in silence."""
    try:
        return INSTRUCTION in rendered(tokenizer, messages(INSTRUCTION, QUESTION))
    except ModelError:
        return False


def _end_of_turn(tokenizer: Any, before: str, after: str) -> str | None:
    """The first token of its own that is written after an answer; None without any.

    A template that opens the next turn of the assistant unasked writes its opening there, which is no end.
    """
    marked = next(_own_tokens(tokenizer, after), None)
    opening = next(iter(reversed(list(_own_tokens(tokenizer, before)))), None)
    return None if marked == opening and marked != tokenizer.eos_token else marked


def _own_tokens(tokenizer: Any, text: str) -> Iterator[str]:
    """The tokens of a text that the tokenizer never makes of plain words: special and added ones."""
    own = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    yield from (str(tokenizer.convert_ids_to_tokens(each)) for each in ids if each in own)


def _notes_on_end(tokenizer: Any, own: str | None, end: str | None, after: str) -> Iterator[str]:
    if end is None:
        writes = f"writes {after!r} after an answer, which is no token of its own" if after.strip() else "marks no end"
        yield f"the chat template {writes}: answers are taught to end with {own}"
    elif end != own:
        yield (
            f"the chat template ends an answer with {end}, the tokenizer a text with {own or 'nothing'}: {end} is "
            "taught, ends generation, and is saved as eos_token with the trained model"
        )


def _check_known(name: str, token: str, place: int, vocabulary: int | None) -> None:
    if vocabulary is not None and place >= vocabulary:
        raise ModelError(
            f"{name}: an answer ends with {token}, token {place}, but the model has {vocabulary} tokens (0 to "
            f"{vocabulary - 1}); resize its embeddings (resize_token_embeddings) and save it, or correct chat_template"
        )


def _settle_padding(tokenizer: Any, end: int, others: Sequence[int], vocabulary: int | None) -> Iterator[str]:
    """A padding token that is not the end, if the vocabulary has any: who masks padding by its token masks the end."""

    def fits(place: int | None) -> bool:
        return place is not None and place != end and (vocabulary is None or place < vocabulary)

    if fits(tokenizer.pad_token_id):
        return
    was, known = tokenizer.pad_token, tokenizer.get_vocab()
    free = [*(known.get(each) for each in PADDING), *others, tokenizer.unk_token_id]
    chosen = next((place for place in free if fits(place)), end)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(chosen)
    if chosen == end:
        yield f"there is no token to pad with but {tokenizer.pad_token}: padding is masked by its place, ends are not"
    elif was is not None:
        why = "the end itself" if was == tokenizer.eos_token else "not among the model's tokens"
        yield f"the padding token {was} is {why}: {tokenizer.pad_token} pads instead"
