"""Sizes, durations and counts as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlimits import (
    INFINITY,
    LimitError,
    format_duration,
    format_size,
    parse_count,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("256M", 256 << 20),
        ("256m", 256 << 20),
        ("1.5G", 3 << 29),
        ("64KiB", 65536),
        ("2 T", 2 << 40),
        ("infinity", INFINITY),
        (str(2**63 - 1), 2**63 - 1),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "M",
        "10X",
        "1.2.3",
        ".5",
        "5.",
        "-1",
        "+1",
        "1e3",
        "0x10",
        "٣",
        "1 000",
        "nan",
        "inf",
        "10MM",
        "iB",
        " 1",
    ],
)
def test_what_is_no_size_says_what_is(text: str) -> None:
    with pytest.raises(LimitError) as caught:
        parse_size(text, "memory")
    assert str(caught.value) == (
        f"memory: {text!r} is not a size; write bytes or a number with K, M, G or T, e.g. 256M"
    )
    assert caught.value.field == "memory"


@pytest.mark.parametrize("text", [str(2**63), "8388608T", "9" * 40])
def test_sizes_beyond_the_kernel_are_refused(text: str) -> None:
    with pytest.raises(LimitError, match="more than 9223372036854775807"):
        parse_size(text)


@pytest.mark.parametrize("parse", [parse_size, parse_count])
def test_endless_digits_are_refused_at_once(parse: object) -> None:
    with pytest.raises(LimitError):
        parse("9" * 10_000)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 10),
        ("1.5s", 1.5),
        ("500ms", 0.5),
        ("2m", 120),
        ("1h", 3600),
        ("1d", 86400),
        ("0", 0),
        ("infinity", INFINITY),
        ("0.25 s", 0.25),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "1 fortnight", "-1s", "nan", "1:30", "1M", "٣s"])
def test_what_is_no_duration_says_what_is(text: str) -> None:
    with pytest.raises(
        LimitError, match=r"timeout: .* is not a duration; write seconds or a number with ms, s, m"
    ):
        parse_duration(text, "timeout")


def test_durations_have_an_end() -> None:
    with pytest.raises(LimitError, match="longer than"):
        parse_duration("4000d")


@pytest.mark.parametrize("text", ["", "-1", "1.5", "64K", "٣", " 1"])
def test_what_is_no_count_says_what_is(text: str) -> None:
    with pytest.raises(LimitError, match=r"pids: .* is not a whole number"):
        parse_count(text, "pids")


def test_counts() -> None:
    assert parse_count("64") == 64
    assert parse_count("infinity") == INFINITY
    with pytest.raises(LimitError, match="more than"):
        parse_count(str(2**63))


@given(st.integers(min_value=-1, max_value=2**63 - 1))
def test_a_formatted_size_reads_as_the_same(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(min_value=0, max_value=10**9).map(lambda thousandths: thousandths / 1000))
def test_a_formatted_duration_reads_as_the_same(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_formats_are_short() -> None:
    assert [format_size(size) for size in (0, 1000, 1024, 512 << 20, -1)] == [
        "0",
        "1000",
        "1K",
        "512M",
        "infinity",
    ]
    assert [format_duration(seconds) for seconds in (5, 1.5, -1)] == ["5s", "1.5s", "infinity"]
