"""The texts that calibrate a method, and the one that its result is measured by: all of what the model has learned."""

import random

from tinylm.corpus import Corpus, turns

TURNS = 3
"""Questions and answers of one calibration text: about 200 tokens."""
SENTENCES = 40


def calibration(corpus: Corpus, count: int) -> list[list[dict[str, str]]]:
    """Return `count` conversations, as messages: what the model is asked in use."""
    asked = turns(corpus, random.Random(7))  # noqa: S311 - reproducible, not secret
    return [
        [
            message
            for question, answer in (asked[(start + turn) % len(asked)] for turn in range(TURNS))
            for message in ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
        ]
        for start in range(0, count * TURNS, TURNS)
    ]


def measured_by(corpus: Corpus) -> str:
    """Return the text for perplexities: sentences the model knows, in an order it has not seen. About 490 tokens.

    A text of other words would measure nothing: this model knows only its own. Here it is right about most words within
    a sentence and must guess the next sentence, so that the perplexity is near 4.
    """
    facts = [fact for topic in corpus.topics for fact in topic.facts]
    random.Random(4242).shuffle(facts)  # noqa: S311 - reproducible, not secret
    return " ".join(facts[:SENTENCES])
