"""Bytes as text that an address can hold: zlib, then the letters, digits, - and _ of URL-safe base64."""

import base64
import zlib


def pack(content: bytes) -> str:
    """Pack bytes into letters, digits, - and _."""
    return base64.urlsafe_b64encode(zlib.compress(content, 9)).decode().rstrip("=")


def unpack(text: str, most_characters: int, most_bytes: int) -> bytes:
    """What pack packed. Raises ValueError on anything else, and on what is longer than this, packed or unpacked."""
    if len(text) > most_characters:
        raise ValueError(f"{len(text)} characters, at most {most_characters} are read")
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        content = zlib.decompressobj().decompress(packed, most_bytes + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(content) > most_bytes:
        raise ValueError(f"more than {most_bytes} bytes")
    return content
