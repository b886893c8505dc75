"""The codecs as a serde of LMCache: chunks [2, layers, tokens, hidden] to bytes and back.

LMCache asks a function ``CreateSerde(serde_type, metadata, config)`` for a pair of objects;
:func:`create_serde` takes the same arguments. LMCache itself is not needed: of its objects only
``tensor`` and ``byte_array`` are used, and ``wrap`` makes them where it has to get them back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from projects.cachegen.codecs import codec as codec_by_name
from projects.cachegen.container import Container, codec_of, encode_context
from projects.cachegen.errors import IncompatibleProfileError, IncompatibleStreamError
from projects.cachegen.interface import Codec
from projects.cachegen.profile import Profile
from projects.cachegen.tensors import Geometry

if TYPE_CHECKING:
    import torch


class Serializer:
    """Chunks of a cache to self-describing streams.

    Parameters
    ----------
    codec : Codec
    geometry : Geometry
        Of the model; LMCache's chunks do not say how ``hidden`` is divided into heads.
    level : str, optional
        By default the codec's.
    profile : Profile, optional
        That the codec needs.
    fingerprint : str
        Of the model.
    wrap : callable, optional
        Makes what LMCache expects from the bytes, such as its ``BytesBufferMemoryObj``.
    """

    def __init__(
        self,
        codec: Codec,
        geometry: Geometry,
        *,
        level: str | None = None,
        profile: Profile | None = None,
        fingerprint: str = "",
        wrap: Callable[[bytes], Any] | None = None,
    ) -> None:
        if codec.needs_profile and profile is None:
            raise IncompatibleProfileError(
                f"codec {codec.name!r} needs a profile; make one with fit(kvs)"
            )
        if hasattr(codec, "kept"):
            raise ValueError(f"codec {codec.name!r} drops tokens, which a chunk cannot tell")
        self.codec, self.geometry, self.profile = codec, geometry, profile
        self.level = codec.known_level(level)
        self.fingerprint, self.wrap = fingerprint, wrap

    def serialize(self, chunk: Any) -> Any:
        """Encode one chunk, on the processor.

        Parameters
        ----------
        chunk : Tensor, shape [2, layers, tokens, hidden], or an object whose ``tensor`` is one
            float16, bfloat16 or float32.

        Returns
        -------
        bytes, or what ``wrap`` makes of them

        Raises
        ------
        ValueError, TypeError
            For another shape or type, or numbers that are not finite.
        """
        tensor = getattr(chunk, "tensor", chunk)
        shape = tuple(getattr(tensor, "shape", ()))
        g = self.geometry
        if len(shape) != 4 or (shape[0], shape[1], shape[3]) != (2, g.layers, g.channels):
            raise ValueError(
                f"a chunk has the shape [2, {g.layers}, tokens, {g.channels}], got {shape}"
            )
        kv = tensor.reshape(2, g.layers, shape[2], g.heads, g.head_dim).transpose(0, 1)
        data = encode_context(
            kv,
            self.codec,
            levels=[self.level],
            chunk_tokens=max(shape[2], 1),
            fingerprint=self.fingerprint,
            profile=self.profile,
        )
        return self.wrap(data) if self.wrap else data

    to_bytes = serialize


class Deserializer:
    """Streams back to chunks, whatever codec wrote them.

    Parameters
    ----------
    geometry : Geometry
        Of the model.
    dtype : torch.dtype, optional
        Of the result; by default what was encoded.
    profile : Profile, optional
        That the streams name.
    fingerprint : str, optional
        Of the model; None accepts any.
    wrap : callable, optional
        Makes what LMCache expects from the tensor.
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        dtype: torch.dtype | None = None,
        profile: Profile | None = None,
        fingerprint: str | None = None,
        wrap: Callable[[torch.Tensor], Any] | None = None,
    ) -> None:
        self.geometry, self.dtype, self.profile = geometry, dtype, profile
        self.fingerprint, self.wrap = fingerprint, wrap

    def from_bytes(self, data: Any) -> Any:
        """Decode one chunk.

        Parameters
        ----------
        data : bytes or memoryview, or an object whose ``byte_array`` is one

        Returns
        -------
        Tensor, shape [2, layers, tokens, hidden], or what ``wrap`` makes of it

        Raises
        ------
        CorruptStreamError, IncompatibleStreamError, IncompatibleProfileError
            If the bytes are damaged, or of another model or profile.
        """
        import torch

        stream = Container(bytes(getattr(data, "byte_array", data)))
        header = stream.header
        header.require(fingerprint=self.fingerprint, geometry=self.geometry)
        if hasattr(codec_of(header), "kept"):
            raise IncompatibleStreamError(f"the stream dropped tokens: {header.codec}")
        kv = stream.decode(profile=self.profile if header.profile else None)
        dtype = self.dtype or getattr(torch, header.dtype)
        chunk = torch.from_numpy(kv).transpose(0, 1).flatten(3).to(dtype).contiguous()
        return self.wrap(chunk) if self.wrap else chunk

    deserialize = from_bytes


def create_serde(
    serde_type: str,
    metadata: Any,
    config: Any = None,
    *,
    level: str | None = None,
    profile: Profile | None = None,
    wrap_bytes: Callable[[bytes], Any] | None = None,
    wrap_tensor: Callable[[torch.Tensor], Any] | None = None,
    **options: Any,
) -> tuple[Serializer, Deserializer]:
    """Return a pair of serializer and deserializer, as LMCache's ``CreateSerde``.

    Parameters
    ----------
    serde_type : str
        Name of a codec; see :func:`projects.cachegen.codecs.codec_names`.
    metadata : object
        LMCache's: ``kv_shape`` (layers, 2, tokens, heads, head size), and where present
        ``kv_dtype`` and ``model_name``, which streams are marked with.
    config : object
        LMCache's; unused.
    level, profile
        Of the codec.
    wrap_bytes, wrap_tensor : callable, optional
        Make LMCache's objects from results.
    **options
        Of the codec.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import torch
    >>> metadata = SimpleNamespace(kv_shape=(3, 2, 256, 2, 4), model_name="tiny")
    >>> serializer, deserializer = create_serde("uniform8", metadata)
    >>> data = serializer.serialize(torch.ones(2, 3, 5, 8))
    >>> deserializer.from_bytes(data).shape
    torch.Size([2, 3, 5, 8])
    """
    shape = tuple(metadata.kv_shape)
    if len(shape) != 5 or shape[1] != 2:
        raise ValueError(f"kv_shape is (layers, 2, tokens, heads, head size), got {shape}")
    geometry = Geometry(shape[0], shape[3], shape[4])
    fingerprint = getattr(metadata, "model_name", None) or ""
    serializer = Serializer(
        codec_by_name(serde_type, **options),
        geometry,
        level=level,
        profile=profile,
        fingerprint=fingerprint,
        wrap=wrap_bytes,
    )
    deserializer = Deserializer(
        geometry,
        dtype=getattr(metadata, "kv_dtype", None),
        profile=profile,
        fingerprint=fingerprint,
        wrap=wrap_tensor,
    )
    return serializer, deserializer
