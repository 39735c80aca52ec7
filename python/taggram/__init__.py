"""Music genre classification: a song in, its genre out.

>>> import taggram
>>> heard = taggram.classify("song.mp3")        # doctest: +SKIP
>>> heard.genre, heard.confidence               # doctest: +SKIP
('reggae', 0.85)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Optional, Union

import numpy as np
import numpy.typing as npt

from . import _native
from ._audio import Audio, form
from ._errors import AudioError, ModelError, TaggramError, UnreadableError, exception

__version__: str = _native.version()
__all__ = [
    "Audio",
    "AudioError",
    "Heard",
    "Model",
    "ModelError",
    "Tagged",
    "TaggramError",
    "UnreadableError",
    "classify",
    "feature_frames",
    "features",
    "models",
    "tags",
]


@dataclass(frozen=True, eq=False)
class _Answer:
    labels: tuple[str, ...]
    """Names of the columns of the taggram."""
    taggram: npt.NDArray[np.float32]
    """Probabilities 0…1, [window, label]."""
    starts_s: npt.NDArray[np.float64]
    """Start of every window, seconds."""
    patch_s: float
    """Length of a window, seconds."""
    embedding: npt.NDArray[np.float32]
    """The song as a vector: near vectors sound alike."""
    duration_s: float
    """Seconds that were listened to."""
    warnings: tuple[str, ...]
    """What a person should know: silence, padding, damaged frames."""
    model: str
    """Name of the model."""
    elapsed_ms: float
    """Time from opening to answer, milliseconds."""


@dataclass(frozen=True, eq=False)
class Heard(_Answer):
    """What was heard of a song."""

    genre: str
    """Most probable genre, or `unknown`."""
    confidence: float
    """Its probability, 0…1."""
    scores: dict[str, float]
    """Genres with their probabilities, the most probable first."""


@dataclass(frozen=True, eq=False)
class Tagged(_Answer):
    """The tags of a song."""

    tags: dict[str, float]
    """Tags with their mean probabilities over the song, the strongest first."""


class Model:
    """A model: a name (see `models()`) or a .safetensors file.

    Threads may share it. Pickled, it is its name or its file's absolute path, and is loaded again where it is
    unpickled, so a worker on another machine needs the model too.
    """

    def __init__(
        self, name: Union[str, os.PathLike[str]] = "default", *, nearest: bool = False
    ) -> None:
        text = os.fspath(name)
        self._where = os.path.abspath(text) if os.path.isfile(text) else text
        self._nearest = nearest
        self._native = _native.Model(self._where, nearest)

    @property
    def name(self) -> str:
        """Short name of the model."""
        return self._native.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The vocabulary, in the order of the taggram's columns."""
        return tuple(self._native.labels)

    @property
    def sample_rate(self) -> int:
        """Rate that audio is resampled to, Hz."""
        return self._native.sample_rate

    def __repr__(self) -> str:
        return f"taggram.Model({self._where!r}, nearest={self._nearest})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._where, self._nearest)

    def classify(
        self,
        audio: Audio,
        *,
        sample_rate: Optional[int] = None,
        excerpt: str = "full",
        vote: str = "mean",
        threads: int = 1,
    ) -> Heard:
        """The genre of a song: see `taggram.classify`."""
        if not self._native.names_genres:
            raise exception("unsupported", f"{self.name} names tags, not genres: use tags()")
        heard = self._listen(audio, sample_rate, excerpt, vote, threads)
        return Heard(**heard)

    def tags(
        self,
        audio: Audio,
        *,
        sample_rate: Optional[int] = None,
        excerpt: str = "full",
        threads: int = 1,
    ) -> Tagged:
        """The tags of a song: see `taggram.tags`."""
        if self._native.names_genres:
            raise exception("unsupported", f"{self.name} names genres, not tags: use classify()")
        heard = self._listen(audio, sample_rate, excerpt, "mean", threads)
        del heard["genre"], heard["confidence"]
        return Tagged(tags=heard.pop("scores"), **heard)

    def _listen(
        self, audio: Audio, sample_rate: Optional[int], excerpt: str, vote: str, threads: int
    ) -> dict[str, Any]:
        heard = self._native.listen(form(audio, sample_rate), excerpt, vote, threads)
        heard["labels"] = tuple(heard["labels"])
        heard["warnings"] = tuple(heard["warnings"])
        heard["model"] = self.name
        return heard


def _again(where: str, nearest: bool) -> Model:
    return Model(where, nearest=nearest)


@lru_cache(maxsize=8)
def _named(name: str) -> Model:
    return Model(name)


def _model(model: Union[Model, str, os.PathLike[str]]) -> Model:
    return model if isinstance(model, Model) else _named(os.fspath(model))


def classify(
    audio: Audio,
    *,
    sample_rate: Optional[int] = None,
    model: Union[Model, str, os.PathLike[str]] = "default",
    excerpt: str = "full",
    vote: str = "mean",
    threads: int = 1,
) -> Heard:
    """The genre of a song.

    `audio` is a path, the bytes of a file, or samples: an array [sample] or [channel, sample] of floats −1…1, int16
    or int32, with its `sample_rate` in Hz. `excerpt` is `full`, `middle:SECONDS` or `spread:WINDOWS` (as many windows of
    the model's length, evenly over the file; what lies between is skipped, not decoded). `vote` is `mean` or
    `majority`. `threads` is for the network of musicnn, which can use several. A model that is named is loaded once
    a process.

    Raises OSError (FileNotFoundError, UnreadableError), AudioError or ModelError.
    """
    return _model(model).classify(
        audio, sample_rate=sample_rate, excerpt=excerpt, vote=vote, threads=threads
    )


def tags(
    audio: Audio,
    *,
    sample_rate: Optional[int] = None,
    model: Union[Model, str, os.PathLike[str]] = "msd-musicnn",
    excerpt: str = "full",
    threads: int = 1,
) -> Tagged:
    """The tags of a song, by a tagging model that is installed. Arguments and errors as of `classify`."""
    return _model(model).tags(audio, sample_rate=sample_rate, excerpt=excerpt, threads=threads)


def features(
    audio: Audio, *, sample_rate: Optional[int] = None, set: str = "gtzan57", rate: int = 22_050
) -> dict[str, float]:
    """Descriptors of a clip, as librosa defines them: name → value.

    `set` is `gtzan57`, `system3` or `all`; `rate` is what the audio is resampled to, Hz. At most an hour.
    """
    return _native.describe(form(audio, sample_rate), set, rate)[0]


def feature_frames(
    audio: Audio, *, sample_rate: Optional[int] = None, set: str = "gtzan57", rate: int = 22_050
) -> dict[str, npt.NDArray[Any]]:
    """Descriptors of every frame (2,048 samples every 512): name → [frame], and `time_s`."""
    return _native.describe_frames(form(audio, sample_rate), set, rate)[0]


def models() -> list[str]:
    """Names of the models: those in the package, then those in the model folder."""
    return _native.installed()
