"""What can be seen in prose, and mended: the critic finds it, the rewriter changes it.

Pure functions of sentences. Speech (a sentence with a quotation mark) is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from components.agents.story.grammar import capitalised
from components.agents.story.models import Draft
from components.agents.story.phrases import COMMON_WORDS, CRUTCHES, SOFT_OPENERS

SHORT_SENTENCE_WORDS = 4

_CRUTCH = re.compile(rf"\b(?:{'|'.join(CRUTCHES)}) ", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")

Paragraph = Sequence[str]


def telling_words(text: str, *, most: int = 8) -> tuple[str, ...]:
    """Return the words of a text that say what it is about, in order, each once."""
    words = (word.lower() for word in _WORD.findall(text) if len(word) >= 5)
    return tuple(dict.fromkeys(word for word in words if word not in COMMON_WORDS))[:most]


def count_crutches(draft: Draft) -> int:
    """Count the words that say nothing."""
    return sum(len(_CRUTCH.findall(sentence)) for paragraph in draft.paragraphs for sentence in paragraph)


def without_crutches(sentence: str) -> str:
    """Return the sentence without the words that say nothing."""
    return capitalised(_CRUTCH.sub("", sentence))


def echoes_at(paragraph: Paragraph) -> list[int]:
    """Return where a sentence begins with the same word as the one before it."""
    return [at for at in _narrated_pairs(paragraph) if _opener(paragraph[at]) == _opener(paragraph[at - 1])]


def lead_in(paragraph: Paragraph, leads: Iterator[str]) -> tuple[str, ...]:
    """Return the paragraph with a few words put before every sentence that echoes."""
    echoes = echoes_at(paragraph)
    return tuple(
        f"{next(leads)}, {softened(sentence)}" if at in echoes else sentence
        for at, sentence in enumerate(paragraph)
    )


def choppy_at(paragraph: Paragraph) -> list[int]:
    """Return where a short sentence follows a short sentence."""
    return [
        at for at in _narrated_pairs(paragraph) if _is_short(paragraph[at]) and _is_short(paragraph[at - 1])
    ]


def join_choppy(paragraph: Paragraph) -> tuple[str, ...]:
    """Return the paragraph with short sentences joined to the short ones before them."""
    choppy = choppy_at(paragraph)
    joined: list[str] = []
    for at, sentence in enumerate(paragraph):
        if at in choppy:
            joined[-1] = f"{joined[-1].rstrip('.')}, and {softened(sentence)}"
        else:
            joined.append(sentence)
    return tuple(joined)


def softened(sentence: str) -> str:
    """Return the sentence as it reads after a comma: names keep their capital."""
    opener, space, rest = sentence.partition(" ")
    return (opener.lower() if opener in SOFT_OPENERS else opener) + space + rest


def _narrated_pairs(paragraph: Paragraph) -> Iterator[int]:
    narrated = ["“" not in sentence for sentence in paragraph]
    return (at for at in range(1, len(paragraph)) if narrated[at] and narrated[at - 1])


def _opener(sentence: str) -> str:
    return sentence.partition(" ")[0].strip(",")


def _is_short(sentence: str) -> bool:
    return len(sentence.split()) <= SHORT_SENTENCE_WORDS
