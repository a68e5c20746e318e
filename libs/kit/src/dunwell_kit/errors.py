"""Errors: what is wrong, and what to do about it.

Owns: the base classes and how they look to an HTTP caller. Refuses: business errors; each room has its own.
Source: RFC 9457 (problem details).
"""

from __future__ import annotations

PROBLEM_BASE = "https://dunwell.dev/problems/"


class DunwellError(Exception):
    """Something this product can name went wrong."""

    slug = "internal"
    title = "Internal error"
    status = 500

    def problem(self) -> dict[str, object]:
        """Return the error as a problem+json document with a stable `type`."""
        return {
            "type": PROBLEM_BASE + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": str(self) or (self.__doc__ or "").strip(),
        }


class Invalid(DunwellError, ValueError):
    """The input is not valid."""

    slug = "invalid-input"
    title = "Invalid input"
    status = 422


class NotFound(DunwellError, LookupError):
    """There is no such thing."""

    slug = "not-found"
    title = "Not found"
    status = 404


class Conflict(DunwellError):
    """The state does not allow it."""

    slug = "conflict"
    title = "Conflict"
    status = 409


class Unavailable(DunwellError):
    """A part this needs does not answer; try again later."""

    slug = "unavailable"
    title = "Temporarily unavailable"
    status = 503


class IllegalTransition(DunwellError):
    """The message contradicts the state; the shell parks it."""

    slug = "illegal-transition"
    title = "Illegal transition"
    status = 409


class Misconfigured(DunwellError):
    """A setting is missing or wrong."""

    slug = "misconfigured"
    title = "Misconfigured"
