"""Who is champion, previous and challenger, and how that changes without a crash leaving it half changed.

Three aliases cannot be moved in one call. So the move is noted first, as a tag of the registered model; whoever next
holds the lock completes or forgets what a crash left behind. Knows nothing of why an alias moves.
"""

from __future__ import annotations

from posttrain import tracking
from posttrain.registry.find import by_alias
from posttrain.registry.lock import Lock

CHAMPION = "champion"
PREVIOUS = "previous"
CHALLENGER = "challenger"
MOVE = "posttrain.moving"
"""Tag of the registered model while its champion changes: `<old version>><new version>`."""


def version_of(name: str, alias: str) -> str | None:
    """The version that has the alias, if any."""
    found = by_alias(name, alias)
    return str(found.version) if found else None


def crown(name: str, version: str, lock: Lock) -> None:
    """Make `version` champion, the champion before it previous; it is challenger no more."""
    talker = tracking.client()
    lock.check()
    talker.set_registered_model_tag(name, MOVE, f"{version_of(name, CHAMPION) or ''}>{version}")
    lock.check()
    talker.set_registered_model_alias(name, CHAMPION, version)
    settle(name, lock)


def challenge(name: str, version: str, lock: Lock) -> None:
    """Make `version` challenger."""
    if version_of(name, CHALLENGER) != version:
        lock.check()
        tracking.client().set_registered_model_alias(name, CHALLENGER, version)


def settle(name: str, lock: Lock) -> None:
    """Complete the move that is noted, if any; a move whose champion was never set is forgotten."""
    talker = tracking.client()
    noted = talker.get_registered_model(name).tags.get(MOVE)
    if noted is None:
        return
    before, after = noted.split(">")
    lock.check()
    if version_of(name, CHAMPION) == after:
        if before:
            talker.set_registered_model_alias(name, PREVIOUS, before)
        if version_of(name, CHALLENGER) == after:
            talker.delete_registered_model_alias(name, CHALLENGER)
    talker.delete_registered_model_tag(name, MOVE)
