"""Reads `corpus.txt` and makes conversations of it: the first step of the tiny model.

A few hundred hand-written sentences become thousands of question/answer pairs. Everything is drawn from a
seeded generator, so that the same text and seed always give the same conversations.
"""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

Turn = tuple[str, str]
"""A question and its answer."""

TOPIC_QUESTIONS = (
    ("What is {one}?", "Explain what {one} is.", "Do you know what {one} is?", "What do you know about {one}?"),
    ("What is {one}?", "What does {one} do?", "Tell me what {one} is.", "So what is {one}?"),
    ("Tell me about {many}.", "Tell me something about {many}.", "Can you tell me about {many}?"),
    ("Describe {one}.", "Explain {many}.", "Explain {many} to me.", "Explain {many} in simple words."),
    ("Write a short text about {many}.", "Why are {many} important?", "What is special about {many}?"),
)
STORY_QUESTIONS = (
    "Tell me a story about {many}.",
    "Tell me a story about {one}.",
    "Tell a story about {many}.",
    "Write a story about {many}.",
    "Write a short story about {one}.",
    "Please tell me a long story about {many}.",
)
STORY_PARTS = ("opening", "morning", "journey", "trouble", "help", "ending")
CAPITAL_QUESTIONS = ("What is the capital of {place}?", "Tell me the capital of {place}.", "The capital of {place}?")


@dataclass(frozen=True)
class Topic:
    """One subject: its names in the singular and plural, and sentences about it (the first says what it is)."""

    one: str
    many: str
    facts: tuple[str, ...]


@dataclass
class Corpus:
    """What `corpus.txt` holds, by kind of entry."""

    topics: list[Topic] = field(default_factory=list)
    answers: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    story: dict[str, tuple[str, ...]] = field(default_factory=dict)
    capitals: dict[str, str] = field(default_factory=dict)


def read_corpus(path: Path) -> Corpus:
    """Parses the text (its format is described in its first lines).

    Raises:
        ValueError: an entry starts with a mark that is not known or has no lines.
    """
    corpus = Corpus()
    text = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] != "#")
    for entry in re.split(r"\n+(?=[=?~@] )", text.strip()):
        head, *lines = [line.strip() for line in entry.strip().splitlines() if line.strip()]
        mark, title = head[0], head[2:]
        if not lines:
            raise ValueError(f"{path}: the entry {head!r} has no lines below it")
        if mark == "=":
            one, many = (name.strip() for name in title.split("|"))
            corpus.topics.append(Topic(one, many, tuple(lines)))
        elif mark == "?":
            corpus.answers.append((tuple(re.split(r"\s+/\s+", title)), " ".join(lines)))
        elif mark == "~":
            corpus.story[title] = tuple(lines)
        elif mark == "@":
            corpus.capitals[title] = " ".join(lines)
        else:
            raise ValueError(f"{path}: the entry {head!r} starts with none of the marks = ? ~ @")
    return corpus


def _loosely(question: str, rng: random.Random) -> str:
    """Writes a question as people type it: now and then in lower case, or without the last sign."""
    if rng.random() < 0.15:
        question = question[0].lower() + question[1:]
    if rng.random() < 0.15:
        question = question.rstrip(".?!")
    return f"Please {question[0].lower()}{question[1:]}" if rng.random() < 0.05 else question


def topic_turn(topic: Topic, rng: random.Random) -> Turn:
    """Asks about a topic; the answer is what it is and two to four more facts."""
    question = rng.choice(rng.choice(TOPIC_QUESTIONS)).format(one=topic.one, many=topic.many)
    facts = rng.sample(topic.facts[1:], k=rng.randint(2, min(4, len(topic.facts) - 1)))
    return question, " ".join((topic.facts[0], *facts))


def story_turn(corpus: Corpus, topic: Topic, rng: random.Random) -> Turn:
    """Asks for a story; hero, friend and place stay the same through the story."""
    names = {slot: rng.choice(corpus.story[slot]) for slot in ("hero", "friend", "place")}
    sentences = [rng.choice(corpus.story[part]).format(many=topic.many, **names) for part in STORY_PARTS]
    sentences = [f"This is a story about {topic.many}.", *sentences]
    sentences.insert(3, rng.choice(topic.facts))
    question = rng.choice(STORY_QUESTIONS).format(one=topic.one, many=topic.many)
    return question, " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def turns(corpus: Corpus, rng: random.Random) -> list[Turn]:
    """One round through everything in the text, shuffled: every topic, story, answer and capital."""
    drawn = [topic_turn(topic, rng) for topic in corpus.topics for _ in range(4)]
    drawn += [story_turn(corpus, topic, rng) for topic in corpus.topics]
    drawn += [(rng.choice(questions), answer) for questions, answer in corpus.answers for _ in range(2)]
    drawn += [(rng.choice(CAPITAL_QUESTIONS).format(place=p), a) for p, a in corpus.capitals.items()]
    rng.shuffle(drawn)
    return [(_loosely(question, rng), answer) for question, answer in drawn]
