"""Exceptions: a sentence for people, and a `kind` for programs."""

from __future__ import annotations


class TaggramError(Exception):
    """Why there is no answer. `kind` says of which sort the trouble is."""

    kind: str = "bug"


class AudioError(TaggramError, ValueError):
    """The audio cannot be used. `kind`: not-audio, malformed, unsupported, too-short or over-limit."""


class UnreadableError(TaggramError, OSError):
    """The file cannot be read. `kind`: unreadable."""


class ModelError(TaggramError, ValueError):
    """There is no such model, or its weights are not installed. `kind`: no-model."""


_CLASSES: dict[str, type[TaggramError]] = {
    "unreadable": UnreadableError,
    "no-model": ModelError,
    "cancelled": TaggramError,
    "bug": TaggramError,
}


def exception(kind: str, message: str) -> TaggramError:
    """The exception of a kind; the native half raises what this returns."""
    error = _CLASSES.get(kind, AudioError)(message)
    error.kind = kind
    return error
