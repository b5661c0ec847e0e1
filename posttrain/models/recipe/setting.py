"""A value of a recipe with its source and reason, and the choice between the spec's and the recipe's own."""

from __future__ import annotations

from collections.abc import Callable

from posttrain.artifacts import Frozen

Value = float | int | str | bool
Judge = Callable[[float, float], str]
"""The value given and the one suggested → a warning, or nothing."""


class Setting(Frozen):
    """One value of a recipe. `overridden`: the spec gave it; `recommended` is then what the recipe would say."""

    name: str
    value: Value
    source: str
    reason: str
    overridden: bool = False
    recommended: Value | None = None
    warning: str = ""


class Recipe(Frozen):
    """All values of one training, in the order in which a plan shows them."""

    settings: tuple[Setting, ...]

    def __getitem__(self, name: str) -> Value:
        """The value of a setting; `KeyError` when the recipe has none of that name."""
        return self.values[name]

    @property
    def values(self) -> dict[str, Value]:
        """Name → value."""
        return {setting.name: setting.value for setting in self.settings}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the sources call dangerous among the spec's own values."""
        return tuple(setting.warning for setting in self.settings if setting.warning)


def choose(
    name: str, given: Value | None, suggested: Value, source: str, reason: str, warn: Judge | None = None
) -> Setting:
    """The value that the spec gives, judged by `warn`; else the one suggested, for its `reason`."""
    if given is None:
        return Setting(name=name, value=suggested, source=source, reason=reason)
    warning = warn(float(given), float(suggested)) if warn else ""
    return Setting(
        name=name,
        value=given,
        source="the spec",
        reason=f"the spec says so; the recipe would say {suggested} ({source})",
        overridden=True,
        recommended=suggested,
        warning=warning,
    )
