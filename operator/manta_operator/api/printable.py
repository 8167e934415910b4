"""What containers and checkpoints of others say, as text that a status, an event and a terminal can hold. Pure.

JSON may hold half of a surrogate pair, which nothing can encode again, so that a status with it is never written; and
control characters, with which a word of an engine could move the cursor of whoever reads it.
"""


def printable(text: str, limit: int) -> str:
    """Return at most `limit` characters of the text: one space for any white space, nothing that cannot be seen.

    What it returns it leaves as it is, with this limit and with any greater one.
    """
    seen = "".join(letter for letter in text[: 4 * limit] if letter.isprintable() or letter.isspace())
    return " ".join(seen.split())[:limit].rstrip()
