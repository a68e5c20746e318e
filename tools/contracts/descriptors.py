"""What no event may carry: personal data, by mark or by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2

# The extension number of (dunwell.common.v1.personal).
PERSONAL = 50001
# Words of a field's name that would hold personal data.
_WORDS = frozenset({"email", "mail", "phone", "name", "address", "street", "birth", "birthday", "iban", "pan", "ip"})


def fields_of(image: Path) -> Iterator[tuple[str, descriptor_pb2.FieldDescriptorProto]]:
    """Yield each of our messages' fields of a buf image with its full name."""
    files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file
    for file in files:
        if file.package.startswith("dunwell."):
            yield from _fields(file.package, file.message_type)


def _fields(
    scope: str, messages: Iterable[descriptor_pb2.DescriptorProto]
) -> Iterator[tuple[str, descriptor_pb2.FieldDescriptorProto]]:
    for message in messages:
        for field in message.field:
            yield f"{scope}.{message.name}.{field.name}", field
        yield from _fields(f"{scope}.{message.name}", message.nested_type)


def is_marked(field: descriptor_pb2.FieldDescriptorProto) -> bool:
    """True when the field carries the option of personal data, whether or not its extension is loaded."""
    options = field.options.SerializeToString()
    # The tag of a bool with that number; an option is never long enough to hold it by chance in our files.
    return _varint(PERSONAL << 3) + b"\x01" in options


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def findings(image: Path) -> Iterator[str]:
    """Yield the fields that hold, or by their name might hold, personal data."""
    for name, field in fields_of(image):
        if is_marked(field):
            yield f"{name} is marked as personal"
        if _WORDS & set(re.split(r"_", name.rpartition(".")[2])):
            yield f"{name} is named like personal data"
