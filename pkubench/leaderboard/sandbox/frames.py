"""The frames between the board and an agent in a sandbox: numbers only, of declared sizes.

A frame is a head of 16 bytes (magic, kind, number of parts, seat, size of the body), then its
parts; a part is an array: type, number of dimensions, shape, data, all little-endian. Texts are
arrays of UTF-8 bytes. Nothing is ever unpickled.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.errors import PkubenchError

MAX_BODY = 64 << 20
"""Largest body of a frame, in bytes."""

_HEAD = struct.Struct("<4sBBHQ")
_MAGIC = b"PKU1"
_TYPES = tuple(
    np.dtype(name)
    for name in ("?", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")
)
_CODES = {dtype: code for code, dtype in enumerate(_TYPES)}
_MAX_DIMENSIONS = 8
_MAX_PARTS = 255

Array = npt.NDArray[Any]


class FrameError(PkubenchError):
    """Bytes that are no frame, or an array that no frame can hold."""


class Kind(IntEnum):
    """What a frame asks or answers."""

    LOAD = 1
    BEGIN = 2
    ACT = 3
    OBSERVE = 4
    DONE = 64
    FAILED = 65


class Frame(NamedTuple):
    """A frame, taken apart."""

    kind: Kind
    seat: int
    parts: tuple[Array, ...]

    @property
    def text(self) -> str:
        """The first part as a text."""
        return self.parts[0].astype(np.uint8).tobytes().decode(errors="replace")


def text_part(text: str) -> Array:
    """Return a text as a part."""
    return np.frombuffer(text.encode(errors="replace"), np.uint8)


def pack(kind: Kind, parts: Sequence[Array] = (), seat: int = 0) -> bytes:
    """Return the bytes of a frame.

    Raises:
        FrameError: a part is not an array of numbers, or the frame would be too large.
    """
    body = bytearray()
    for part in parts:
        array = np.ascontiguousarray(part)
        code = _CODES.get(array.dtype.newbyteorder("<"))
        if code is None or array.ndim > _MAX_DIMENSIONS:
            raise FrameError(
                f"an array of type {array.dtype} and {array.ndim} dimensions cannot be sent; "
                "observations and actions in a sandbox are arrays of numbers"
            )
        shape = np.shape(part)
        body += struct.pack(f"<BB{len(shape)}I", code, len(shape), *shape)
        body += array.astype(_TYPES[code], copy=False).tobytes()
    if len(body) > MAX_BODY or len(parts) > _MAX_PARTS:
        raise FrameError(f"a frame of {len(parts)} parts and {len(body)} bytes is too large")
    return _HEAD.pack(_MAGIC, kind, len(parts), seat, len(body)) + bytes(body)


def read(take: Callable[[int], bytes]) -> Frame:
    """Read one frame.

    Args:
        take: returns exactly so many bytes.

    Raises:
        FrameError: what was read is not a frame.
    """
    magic, kind, count, seat, size = _HEAD.unpack(take(_HEAD.size))
    if magic != _MAGIC:
        raise FrameError(f"it begins with {magic!r}")
    if kind not in Kind.__members__.values():
        raise FrameError(f"no kind {kind}")
    if size > MAX_BODY:
        raise FrameError(f"a body of {size} bytes; at most {MAX_BODY} are read")
    body, parts, at = take(size), [], 0
    try:
        for _ in range(count):
            code, dimensions = struct.unpack_from("<BB", body, at)
            if code >= len(_TYPES) or dimensions > _MAX_DIMENSIONS:
                raise FrameError(f"a part of type {code} with {dimensions} dimensions")
            shape = struct.unpack_from(f"<{dimensions}I", body, at + 2)
            at += 2 + 4 * dimensions
            number = 1
            for length in shape:
                number *= length
            if number * _TYPES[code].itemsize > size - at:
                raise FrameError("a part that is larger than its frame")
            # A copy can be written to and is aligned, like the arrays that agents get elsewhere.
            parts.append(np.frombuffer(body, _TYPES[code], number, at).reshape(shape).copy())
            at += number * _TYPES[code].itemsize
    except struct.error as error:
        raise FrameError("a part without its head") from error
    if at != size:
        raise FrameError(f"{size - at} bytes that belong to no part")
    return Frame(Kind(kind), seat, tuple(parts))
