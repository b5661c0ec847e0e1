"""What calls cost, and the cap on it: no call is begun that could take the sum beyond the cap.

The cap is on all calls that the rows rest on, whether made now or found in the cache: a run that was stopped by it
spends no more when it is run again, and gives the same rows. Knows nothing of networks.
"""

from __future__ import annotations

import asyncio

from posttrain.data.synthetic.calls import Tokens
from posttrain.spec.sections.synthetic import TeacherSpec

MILLION = 1_000_000


def cost(spec: TeacherSpec, tokens: Tokens) -> float:
    """The price of so many tokens."""
    return (tokens.input * (spec.input_price or 0.0) + tokens.output * (spec.output_price or 0.0)) / MILLION


class Budget:
    """Counts what is spent, in the unit of the prices, and holds room for calls that are under way."""

    def __init__(self, spec: TeacherSpec, spent: float = 0.0) -> None:
        self._spec = spec
        self.spent = spent
        self._held: dict[int, float] = {}
        self._changed = asyncio.Condition()

    def cost(self, tokens: Tokens) -> float:
        """The price of so many tokens."""
        return cost(self._spec, tokens)

    def spend(self, tokens: Tokens) -> None:
        """Count a call that was made before, or was lost."""
        self.spent += self.cost(tokens)

    @property
    def overdrawn(self) -> bool:
        """Whether lost calls have eaten the room of those under way."""
        return self.spent + sum(self._held.values()) > self._spec.max_cost

    async def admit(self, number: int, most: Tokens) -> bool:
        """Hold room for call `number`, which costs `most` at most; False when there is none.

        Waits for calls under way, which may turn out cheaper: so the answer depends on what calls cost, and not on
        how long they took.
        """
        cost = self.cost(most)
        async with self._changed:
            while self.spent + sum(self._held.values()) + cost > self._spec.max_cost:
                if not self._held:
                    return False
                await self._changed.wait()
            self._held[number] = cost
        return True

    async def settle(self, number: int, actual: Tokens) -> None:
        """Call `number` is over: give its room back and count what it cost."""
        async with self._changed:
            del self._held[number]
            self.spend(actual)
            self._changed.notify_all()
