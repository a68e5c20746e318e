"""Invented people for the payers of a world, the same for the same payer in every run.

Owns: names, languages, addresses under example.com (RFC 2606). Refuses: anyone real.
"""

from __future__ import annotations

from dataclasses import dataclass

from dunwell_kit.chance import rng

_FIRST = {
    "de": ("Anna", "Lukas", "Mia", "Jonas", "Lea", "Paul", "Clara", "Felix"),
    "fr": ("Camille", "Hugo", "Louise", "Jules", "Chloé", "Léo", "Manon", "Arthur"),
    "es": ("Lucía", "Mateo", "Sofía", "Diego", "Carmen", "Pablo", "Elena", "Hugo"),
    "en": ("Ada", "Grace", "Noah", "Ivy", "Oscar", "Ruth", "Theo", "Mabel"),
}
_LAST = {
    "de": ("Bergmann", "Vogel", "Krüger", "Seidel", "Lorenz", "Brandt"),
    "fr": ("Moreau", "Lambert", "Faure", "Girard", "Chevalier", "Marchand"),
    "es": ("Ortega", "Navarro", "Vidal", "Campos", "Ibáñez", "Herrera"),
    "en": ("Whitfield", "Marsh", "Okafor", "Penrose", "Hartley", "Lindqvist"),
}
_LANGUAGE = {"DE": "de", "AT": "de", "FR": "fr", "ES": "es", "MX": "es", "AR": "es", "CO": "es"}


@dataclass(frozen=True, slots=True)
class Person:
    """A name, an address and a language (BCP 47)."""

    name: str
    email: str
    locale: str


def person(payer_id: str, number: int, country: str) -> Person:
    """Return the person that a payer is; `number` counts payers from 1."""
    language = _LANGUAGE.get(country.upper(), "en")
    chance = rng("person", payer_id)
    name = f"{chance.choice(_FIRST[language])} {chance.choice(_LAST[language])}"
    return Person(name, f"payer-{number:04d}@example.com", language)
