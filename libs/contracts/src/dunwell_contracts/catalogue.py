"""The topic catalogue: which topic carries which message, who writes it, who reads it.

Owns: reading the packaged `topics/*.yaml`. Refuses: anything Kafka; the kit creates topics from it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml
from google.protobuf.message import Message

MessageClass = type[Message]


class UnknownType(LookupError):
    """No topic of the catalogue carries this type."""


@dataclass(frozen=True, slots=True)
class Carried:
    """One message type on its topic."""

    type: str
    message: MessageClass
    topic: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of the catalogue.

    Args:
        partitions_local: Partitions on one machine; `partitions_production` in a cluster.
        retention_days: Days that Kafka keeps records.
    """

    name: str
    owner: str
    audience: str
    partitions_local: int
    partitions_production: int
    retention_days: int
    cleanup: str
    carried: tuple[Carried, ...]

    @property
    def consumers(self) -> tuple[str, ...]:
        """Services that read at least one message of this topic, sorted."""
        return tuple(sorted({name for carried in self.carried for name in carried.consumers}))

    def dead_letter_topic(self, service: str) -> str:
        """Name of the topic that tells operators of this service's dead letters."""
        return dead_letter_topic(self.name, service)


def dead_letter_topic(topic: str, service: str) -> str:
    """Name of the topic that tells operators of a service's dead letters from a topic."""
    return f"{topic}.{service}.dlq"


def message_class(full_name: str) -> type[Message]:
    """Return the generated class of a full protobuf name such as `dunwell.payment.v1.PaymentFailed`."""
    package, _, name = full_name.rpartition(".")
    room = package.split(".")[1]
    module = importlib.import_module(f"{package}.{room}_pb2")
    found: type[Message] = getattr(module, name)
    return found


def topic_from(document: dict[str, Any]) -> Topic:
    """Build a topic from one parsed catalogue file; KeyError names what is missing."""
    carried = tuple(
        Carried(
            type=row["type"],
            message=message_class(row["message"]),
            topic=document["topic"],
            producers=tuple(row["producers"]),
            consumers=tuple(row["consumers"]),
        )
        for row in document["messages"]
    )
    return Topic(
        name=document["topic"],
        owner=document["owner"],
        audience=document["audience"],
        partitions_local=document["partitions"]["local"],
        partitions_production=document["partitions"]["production"],
        retention_days=document["retention_days"],
        cleanup=document["cleanup"],
        carried=carried,
    )


@cache
def topics() -> dict[str, Topic]:
    """Every topic by name."""
    folder = resources.files("dunwell_contracts.topics")
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda f: f.name)
    loaded = [topic_from(yaml.load(entry.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)) for entry in files]
    return {topic.name: topic for topic in loaded}


@cache
def by_type() -> dict[str, Carried]:
    """Every carried message by its wire type."""
    return {carried.type: carried for topic in topics().values() for carried in topic.carried}


@cache
def _by_class() -> dict[type[Message], Carried]:
    return {carried.message: carried for carried in by_type().values()}


def carried_type(wire_type: str) -> Carried:
    """Return what the catalogue says of a wire type; UnknownType if nothing."""
    try:
        return by_type()[wire_type]
    except KeyError:
        raise UnknownType(f"no topic carries type {wire_type!r}") from None


def carried_message(message: Message) -> Carried:
    """Return what the catalogue says of a message's class; UnknownType if nothing."""
    try:
        return _by_class()[type(message)]
    except KeyError:
        raise UnknownType(f"no topic carries message {type(message).__name__!r}") from None


def read_by(service: str) -> tuple[Topic, ...]:
    """Topics that a service consumes."""
    return tuple(topic for topic in topics().values() if service in topic.consumers)
