"""What may be given as audio, brought to the three forms that the native half takes."""

from __future__ import annotations

import operator
import os
from typing import Any, Optional, Union

import numpy as np
import numpy.typing as npt

from ._errors import exception

Audio = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, npt.NDArray[Any]]
Form = Union[str, bytes, "tuple[npt.NDArray[np.float32], int]"]

# The limits of files.
_MOST_CHANNELS = 64
_RATES = range(1_000, 1_000_001)
# A float mix may exceed full scale, but not 64 times: that is an integer's range, not divided by it.
_LOUDEST = 64.0


def form(audio: Audio, sample_rate: Optional[int]) -> Form:
    """A path, bytes, or float32 samples [sample, channel] with their rate."""
    if isinstance(audio, np.ndarray):
        return _samples(audio, sample_rate)
    if sample_rate is not None:
        raise TypeError("sample_rate belongs to an array: a file says its own")
    if isinstance(audio, (bytes, bytearray, memoryview)):
        return bytes(audio)
    try:
        path = os.fspath(audio)
    except TypeError:
        raise TypeError(
            f"audio is a path, the bytes of a file or a numpy array, not {type(audio).__name__}"
        ) from None
    # Python's own exception for a file that is missing or forbidden.
    os.stat(path)
    return path


def _samples(
    array: npt.NDArray[Any], sample_rate: Optional[int]
) -> tuple[npt.NDArray[np.float32], int]:
    if sample_rate is None:
        raise TypeError("an array needs its sample_rate in Hz")
    rate = operator.index(sample_rate)
    if rate not in _RATES:
        raise exception(
            "unsupported",
            f"a sample rate of {rate} Hz is not within {_RATES[0]} to {_RATES[-1]} Hz",
        )
    if array.ndim == 1:
        array = array[np.newaxis, :]
    if array.ndim != 2:
        raise exception(
            "malformed", f"an array of shape {array.shape} is neither [sample] nor [channel, sample]"
        )
    channels, length = array.shape
    if channels == 0 or length == 0:
        raise exception("too-short", "the array is empty: 0 samples")
    if channels > _MOST_CHANNELS:
        raise exception(
            "unsupported",
            f"{channels} channels are more than {_MOST_CHANNELS}: the shape is [channel, sample],"
            " so [sample, channel] needs .T",
        )
    if array.dtype in (np.int16, np.int32):
        # Integers are full scale at the end of their range, as in a file.
        scaled = array.T.astype(np.float32)
        scaled /= -float(np.iinfo(array.dtype).min)
    elif array.dtype in (np.float32, np.float64):
        with np.errstate(over="ignore"):
            scaled = np.ascontiguousarray(array.T, dtype=np.float32)
        _check_floats(scaled)
    else:
        raise exception(
            "unsupported", f"samples are float32, float64, int16 or int32, not {array.dtype}"
        )
    return np.ascontiguousarray(scaled), rate


def _check_floats(samples: npt.NDArray[np.float32]) -> None:
    # The extremes of an array with a NaN are NaN, so this looks at everything without a copy of it.
    low, high = float(samples.min()), float(samples.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        at, channel = (int(i) for i in np.argwhere(~np.isfinite(samples))[0])
        raise exception(
            "malformed",
            f"sample {at} of channel {channel} is {samples[at, channel]}: a finite number is needed",
        )
    loudest = max(-low, high)
    if loudest > _LOUDEST:
        raise exception(
            "malformed",
            f"samples reach {loudest:.6g} where full scale is 1: divide integers by their range",
        )
