"""Quantities as numbers, and sizes as quantities."""

from decimal import Decimal

import pytest

from manta_operator.api.quantity import format_bytes, parse_quantity

PARSED = {
    "4": Decimal(4),
    "500m": Decimal("0.5"),
    "1.5": Decimal("1.5"),
    "64Mi": Decimal(67_108_864),
    "1.5Gi": Decimal(1_610_612_736),
    "2k": Decimal(2000),
    "1G": Decimal(1_000_000_000),
    "1Pi": Decimal(2**50),
}


@pytest.mark.parametrize(("text", "number"), PARSED.items())
def test_parse(text: str, number: Decimal) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "Gi", "64GB", "1 Gi", "1.2.3", "one", "1mi", "1KiKi", "NaN", "1_0", "1\n", "-1"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity: write a number"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(67_108_864, "64Mi"), (2**30, "1Gi"), (2**30 + 1, "1073741825"), (1536, "1536"), (2048, "2Ki"), (0, "0")],
)
def test_format_bytes(count: int, text: str) -> None:
    assert format_bytes(count) == text
    assert parse_quantity(text) == count


def test_format_bytes_refuses_negative_sizes() -> None:
    with pytest.raises(ValueError, match="cannot be negative: -1"):
        format_bytes(-1)
