"""KIVI (arXiv 2402.02750): keys per channel, values per token, asymmetric, in small groups."""

from __future__ import annotations

import numpy as np

from projects.cachegen import window
from projects.cachegen.errors import CorruptStreamError
from projects.cachegen.interface import Codec, Task, exactly
from projects.cachegen.packing import pack, unpack


class KiviCodec(Codec):
    """2-bit KV cache: K in groups of 32 tokens of one channel, V in groups of 32 channels.

    The last ``residual`` tokens of a context stay exact, and as many more as make the rest a
    multiple of ``group``. Each group carries its minimum and its step in the cache's precision.

    Parameters
    ----------
    bits : int
        1 to 8.
    group : int
        Values that share a minimum and a step.
    residual : int
        Most recent tokens kept exact.
    threads : int
        Planes coded at the same time.
    """

    name = "kivi"

    def __init__(
        self, *, bits: int = 2, group: int = 32, residual: int = 128, threads: int = 1
    ) -> None:
        super().__init__(threads=threads)
        if not 1 <= bits <= 8 or group < 2 or residual < 0:
            raise ValueError(
                f"bits={bits}, group={group}, residual={residual}; "
                "allowed: bits 1 to 8, group at least 2, residual at least 0"
            )
        self.bits, self.group, self.residual = bits, group, residual

    @property
    def options(self) -> dict[str, int]:
        """Bits, group and residual."""
        return {"bits": self.bits, "group": self.group, "residual": self.residual}

    def encode_plane(self, x: np.ndarray, plane: int, task: Task) -> bytes:
        """Exact tokens, minima, steps, symbols."""
        ends = window.ends(len(x), task.place, 0, self.residual, self.group)
        head, inner = window.split(x, *ends, task)
        groups = self._groups(inner, plane)
        low = groups.min(axis=1)
        low_bytes, low = task.side(low)
        spread = (groups.max(axis=1) - low) / (2**self.bits - 1)
        step_bytes, step = task.side(spread)
        safe = np.where(step > 0, step, np.float32(1))
        q = np.clip(np.rint((groups - low[:, None]) / safe[:, None]), 0, 2**self.bits - 1)
        return head + low_bytes + step_bytes + pack(q.astype(np.uint16), self.bits)

    def decode_plane(self, part: memoryview, plane: int, task: Task) -> np.ndarray:
        """Undo :meth:`encode_plane`."""
        x, inner, rest = window.join(part, task)
        if len(inner) % self.group:
            raise CorruptStreamError(f"{len(inner)} tokens are no groups of {self.group}")
        if len(inner) == 0:
            exactly(rest, 0, "groups")
            return x
        groups = self._groups(inner, plane)
        side = len(groups) * np.dtype(task.float_type).itemsize
        exactly(rest[: 2 * side], 2 * side, "minima and steps")
        low = np.frombuffer(rest[:side], task.float_type).astype(np.float32)
        step = np.frombuffer(rest[side : 2 * side], task.float_type).astype(np.float32)
        symbols = unpack(rest[2 * side :], groups.size, self.bits).reshape(groups.shape)
        values = low[:, None] + symbols * step[:, None]
        if plane % 2 == 0:
            shape = (-1, inner.shape[1], self.group)
            inner[:] = values.reshape(shape).transpose(0, 2, 1).reshape(inner.shape)
        else:
            inner[:] = values.reshape(len(inner), -1)[:, : inner.shape[1]]
        return x

    def _groups(self, x: np.ndarray, plane: int) -> np.ndarray:
        """Groups of a plane, [groups, group]; channels of V are filled up by their last one."""
        tokens, channels = x.shape
        if tokens == 0:  # min and max of nothing are errors, of no groups they are not
            return np.empty((0, self.group), np.float32)
        if plane % 2 == 0:
            return x.reshape(-1, self.group, channels).transpose(0, 2, 1).reshape(-1, self.group)
        filled = np.pad(x, ((0, 0), (0, -channels % self.group)), mode="edge")
        return filled.reshape(-1, self.group)
