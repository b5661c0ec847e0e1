"""Who is logged in, in a signed cookie, and the word that every change must carry against forgery by other sites.

Nothing is kept on the server but the key, which dies with it. Knows nothing of tokens or of the web framework.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field

HOURS = 12
"""A session ends after a working day."""


@dataclass(frozen=True)
class Session:
    """A browser: a random number, and the annotator who logged in with it ("": nobody yet)."""

    nonce: str
    annotator: str
    until: int


@dataclass(frozen=True)
class Sessions:
    """Makes and reads cookies, with a key of its own."""

    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def begin(self, annotator: str = "") -> Session:
        """A new session; a login always begins one, so that nobody can plant theirs."""
        return Session(secrets.token_urlsafe(18), annotator, int(time.time()) + HOURS * 3600)

    def cookie(self, session: Session) -> str:
        """The session as a cookie's value."""
        name = session.annotator.encode().hex()
        plain = f"{session.nonce}.{name}.{session.until}"
        return f"{plain}.{self._sign('session', plain)}"

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie; None when it is not ours, or is over."""
        plain, _, signature = cookie.rpartition(".")
        if not plain.isascii() or not hmac.compare_digest(signature.encode(), self._sign("session", plain).encode()):
            return None
        nonce, name, until = plain.split(".")
        return Session(nonce, bytes.fromhex(name).decode(), int(until)) if int(until) > time.time() else None

    def csrf(self, session: Session) -> str:
        """What a change must carry: only a page of ours can know it."""
        return self._sign("csrf", session.nonce)

    def proves(self, session: Session, given: str) -> bool:
        """Whether it is the word of this session."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.csrf(session).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self.key, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()
