"""A seeded grammar: sentences from patterns, facts and dice.

A pattern such as "{hero} knew {place} by its smell of {smell}." is filled with the chapter's facts, and
with alternatives drawn from PHRASES where no fact has the name. What users wrote is only ever a fact,
and facts are put in as they are: a brace in a title is a brace in the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, cycle, islice
from random import Random

from components.agents.story.models import StoryRequest
from components.agents.story.phrases import PATTERNS, PHRASES

Shape = Sequence[Sequence[str]]

_SLOT = re.compile(r"\{(\w+)\}")


def tell(
    request: StoryRequest, chapter: int, *, facts: Mapping[str, str], shape: Shape
) -> tuple[tuple[str, ...], ...]:
    """Return paragraphs of sentences, of the kinds that `shape` names."""
    dice = request.dice("chapter", chapter)
    uses = Counter(chain.from_iterable(shape))
    decks = {kind: _deck(request, kind, skip=(chapter - 1) * times) for kind, times in uses.items()}
    return tuple(
        tuple(capitalised(_filled(next(decks[kind]), facts, dice)) for kind in paragraph)
        for paragraph in shape
    )


def _deck(request: StoryRequest, kind: str, *, skip: int) -> Iterator[str]:
    # Shuffled once for the story. A chapter draws from where the one before it stops, without having
    # seen that one: so neighbours do not repeat each other, although nobody writes them in order.
    patterns = request.dice("deck", kind).sample(PATTERNS[kind], len(PATTERNS[kind]))
    return islice(cycle(patterns), skip % len(patterns), None)


def _filled(pattern: str, facts: Mapping[str, str], dice: Random) -> str:
    def fill(slot: re.Match[str]) -> str:
        name = slot[1]
        return facts[name] if name in facts else _filled(dice.choice(PHRASES[name]), facts, dice)

    return _SLOT.sub(fill, pattern)


def capitalised(sentence: str) -> str:
    """Return the sentence with its first letter in upper case, inside a quotation too."""
    start = 1 if sentence.startswith("“") else 0
    return sentence[:start] + sentence[start : start + 1].upper() + sentence[start + 1 :]
