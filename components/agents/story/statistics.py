"""Measures a text. Pure and CPU-bound; the standard library only, so that a worker process starts fast."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?…]+(?=[\s”\"']|$)")
_VOWELS = re.compile(r"[aeiouyáéíóúäöü]+")


@dataclass(frozen=True)
class Statistics:
    """What there is to know about a text's length and readability."""

    words: int
    sentences: int
    distinct_words: int
    reading_ease: float


def measure(text: str) -> Statistics:
    """Count words and sentences, and compute the reading ease.

    Reading ease: R. Flesch, "A new readability yardstick", Journal of Applied Psychology 32 (1948).
    """
    words = _WORD.findall(text)
    if not words:
        return Statistics(words=0, sentences=0, distinct_words=0, reading_ease=0.0)
    sentences = max(1, len(_SENTENCE_END.findall(text)))
    syllables = sum(map(count_syllables, words))
    ease = 206.835 - 1.015 * len(words) / sentences - 84.6 * syllables / len(words)
    return Statistics(
        words=len(words),
        sentences=sentences,
        distinct_words=len({word.lower() for word in words}),
        reading_ease=round(ease, 1),
    )


def count_syllables(word: str) -> int:
    """Estimate a word's syllables: its groups of vowels, less a silent e at the end."""
    word = word.lower()
    groups = len(_VOWELS.findall(word))
    silent = word.endswith("e") and not word.endswith("le") and groups > 1
    return max(1, groups - silent)
