"""New prompts in the manner of known ones, written by the teacher (as in Self-Instruct): shown some, it writes more.

Each round asks for what is still missing; a new prompt that is much like a known or an earlier new one is set aside.
Knows nothing of completions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest

from posttrain.data.synthetic.answers import without_thought
from posttrain.data.synthetic.calls import Answer, Call, Outcome
from posttrain.data.synthetic.chance import dice, share
from posttrain.data.synthetic.similarity import repeats
from posttrain.prompts import messages
from posttrain.spec.sections.synthetic import DistillSpec

PER_CALL = 10
"""New prompts asked for in one call (this project; Self-Instruct's teacher writes until it has 16)."""

ROUNDS = 5
"""Rounds after which what is missing stays missing (this project)."""

KNOWN = 20_000
"""Known prompts that new ones are compared with; curation compares with all of them later (this project)."""

_ASKING = """\
Here is a task and {count} inputs that people really gave for it.

Task: {task}

{shown}

Write {wanted} further inputs for the same task. They must differ from these and from each other in wording, subject, \
length and tone, as if each came from another person; odd and difficult ones are welcome. Do not answer them. \
Reply with a JSON list of {wanted} strings and nothing else."""

_NUMBERED = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s+(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class New:
    """A prompt that the teacher wrote, in the call of this number; `twin` is the text it is too much like, or ""."""

    prompt: str
    call: int
    twin: str = ""
    similarity: float = 0.0


Ask = Callable[[Sequence[Call]], Sequence[Outcome | None]]


def expand(known: Sequence[str], task: str, spec: DistillSpec, ask: Ask) -> list[New]:
    """Up to `spec.new_prompts` new prompts, those with a twin besides, in the order in which they were written.

    `known` are the prompts to go by (of more than `KNOWN`, so many at random), `task` the task in words. Ends early
    when calls are stopped or `ROUNDS` are over.
    """
    known = nsmallest(KNOWN, known, key=lambda text: share(spec.teacher.seed, "known", text))
    made: list[New] = []
    calls = 0
    for _ in range(ROUNDS):
        kept = [new.prompt for new in made if not new.twin]
        missing = spec.new_prompts - len(kept)
        if missing <= 0 or not known:
            break
        numbers = range(calls, calls + -(-missing // PER_CALL))
        wanted = [_question(known, task, spec, number) for number in numbers]
        outcomes = ask(wanted)
        written = [
            New(prompt, calls + number)
            for number, outcome in enumerate(outcomes)
            if isinstance(outcome, Answer)
            for prompt in prompts_in(without_thought(outcome).text)
        ]
        calls += len(wanted)
        made += _judged(written, [*known, *kept], spec.prompt_similarity, missing)
        if None in outcomes:
            break
    return made


def _question(known: Sequence[str], task: str, spec: DistillSpec, number: int) -> Call:
    """The call of this number: it differs from the others even where the prompts it shows do not."""
    drawn = dice(spec.teacher.seed, "new_prompts", number).sample(known, min(spec.seed_prompts, len(known)))
    listed = "\n".join(json.dumps(prompt, ensure_ascii=False) for prompt in drawn)
    text = _ASKING.format(task=task or "as the inputs show", count=len(drawn), shown=listed, wanted=PER_CALL)
    return Call(tuple(messages("", text)), number)


def _judged(written: Sequence[New], known: Sequence[str], similarity: float, missing: int) -> list[New]:
    """The new prompts with their twins, up to the last one that is wanted."""
    texts = [*known, *(new.prompt for new in written)]
    twins = repeats(texts, similarity, len(known))
    judged: list[New] = []
    for index, new in enumerate(written, len(known)):
        if missing <= 0:
            break
        if index in twins:
            twin, alike = twins[index]
            judged.append(replace(new, twin=texts[twin], similarity=alike))
        else:
            judged.append(new)
            missing -= 1
    return judged


def prompts_in(text: str) -> list[str]:
    """The prompts in a teacher's reply: a JSON list of texts, wherever it stands, or else the lines of a list."""
    start, end = text.find("["), text.rfind("]")
    if 0 <= start < end:
        try:
            listed = json.loads(text[start : end + 1])
        except ValueError:
            pass
        else:
            return [item.strip() for item in listed if isinstance(item, str) and item.strip()]
    return [line.strip().strip('"').strip() for line in _NUMBERED.findall(text)]
