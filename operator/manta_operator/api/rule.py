"""One CEL rule of the CRD: where it stands is `rules.py`'s to say."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One rule on one object of the schema.

    Attributes:
        rule: CEL over `self`, true if the value is fine.
        message: What is wrong and what to do, for the user.
        message_expression: CEL that makes a better message from the value; `message` is used where it fails. It may
            hold texts of the value, but no string(number) and no field of an object that was filtered out of a list:
            API servers take these for unbounded, and refuse the CRD.
        field_path: The field below `self` that the message is about, for example `.uri`.
    """

    rule: str
    message: str
    message_expression: str = ""
    field_path: str = ""

    def manifest(self) -> dict[str, str]:
        """Return the entry of `x-kubernetes-validations`."""
        entry = {
            "rule": self.rule,
            "message": self.message,
            "messageExpression": self.message_expression,
            "fieldPath": self.field_path,
        }
        return {key: text for key, text in entry.items() if text}
