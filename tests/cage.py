"""Canaries: texts that are known by where they were put, so that wherever one turns up again, it says what has leaked."""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

CANARY = re.compile(r"canary(\d{5})x")
ARGUMENTS = ("arguments.", "parameters.")
# Texts without which nothing would be understood. They say what kind of thing a message is, and nothing about anybody.
STRUCTURE = {"type", "status", "role", "transcriptType", "phoneCallProviderId", "callSid", "provider"}


class Found(NamedTuple):
    """A canary by the place that it was put in, and where it was seen again."""

    place: str
    sink: str


class Cage:
    """Hands out canaries and knows where each of them was put; `keep` says which texts of a place stay what they are."""

    def __init__(self, keep: Callable[[str, str], bool]) -> None:
        self.places: list[str] = []
        self._keep = keep

    def canary(self, place: str) -> str:
        """A new one."""
        self.places.append(place)
        return f"canary{len(self.places):05d}x"

    def found(self, text: str, sink: str) -> set[Found]:
        """The canaries in a text that was seen at some place outside."""
        return {Found(self.places[int(number) - 1], sink) for number in CANARY.findall(text)}

    def planted(self, value: Any, place: str = "") -> Any:
        """The same value with a canary for every text, and in every object a field more than anybody has published."""
        if isinstance(value, dict):
            inside = f"{place}." if place else ""
            made = {name: self.planted(entry, inside + name) for name, entry in value.items()}
            # A tool refuses arguments that it does not know, and then nothing of them would be kept anywhere.
            return made if inside.endswith(ARGUMENTS) else made | {"unpublished": self.canary(f"{inside}unpublished")}
        if isinstance(value, list):
            return [self.planted(entry, f"{place}[]") for entry in value]
        return self._text(value, place) if isinstance(value, str) else value

    def _text(self, text: str, place: str) -> str:
        name = place.rpartition(".")[2]
        if name in STRUCTURE or self._keep(place, text):
            return text
        if name == "controlUrl":
            return f"https://{self.canary(place)}.vapi.ai/{text.split('/')[-2]}/control"
        if text.startswith("{"):
            arguments = {key: self.planted(entry, f"{place}.{key}") for key, entry in json.loads(text).items()}
            return json.dumps(arguments)
        return self.canary(place)
