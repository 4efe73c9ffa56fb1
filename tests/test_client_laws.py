"""The client's arithmetic, and what holds of it for every input.

All tests that import the client are here. They use what the arithmetic consists of, and what makes
text of it.
"""

import contextlib
import json
import socket
import time
from fractions import Fraction

import pytest

import ntp_client
from fake_ntp_server import HEADER, timestamp
from helpers import SECOND

pytest.importorskip("hypothesis", reason="hypothesis is not installed; tests/run installs it")
from hypothesis import given, settings
from hypothesis import strategies as st

settings.register_profile("lab", deadline=None)  # a busy machine may stall for longer
settings.load_profile("lab")

FIRST, LAST = (
    ntp_client.to_unix_ns(1 << 63),
    ntp_client.to_unix_ns((1 << 63) - 1) - 1,
)  # 1968 and 2104
unix_times = st.integers(FIRST, LAST)
SERVER = ntp_client.Server(socket.AF_INET, ("127.0.0.1", 123), "127.0.0.1 port 123")


class NoSocket:
    """What the client's exchange() needs of a socket, and nothing behind it."""

    def __init__(self, *_):
        self.setsockopt = self.connect = self.send = lambda *_: None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def exchange(reply, t1, t4):
    """Return what the client's exchange() does when this reply arrives, at these times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", NoSocket)
        patch.setattr(time, "time_ns", lambda: t1)
        patch.setattr(ntp_client, "wait_for_reply", lambda *_: (reply, t4))
        return ntp_client.exchange(SERVER, 0)


def a_reply(t2, t3, precision=-30, root_delay=0, root_dispersion=0):
    """Return a reply with these times (Unix ns) that nobody can object to."""
    fields = (precision, root_delay % 2**32, root_dispersion, bytes(4))
    return HEADER.pack(4 << 3 | 4, 2, 6, *fields, 0, 1, timestamp(t2), timestamp(t3))


# ---- Times


@pytest.mark.parametrize(
    ("stamp", "text"),
    [
        (0x83AA7E80_00000000, "1970-01-01 00:00:00.000000000 UTC"),
        (0x80000000_00000000, "1968-01-20 03:14:08.000000000 UTC"),
        (0xFFFFFFFF_FFFFFFFF, "2036-02-07 06:28:16.000000000 UTC"),  # rounded to the nearest ns
        (0xFFFFFFFF_00000000, "2036-02-07 06:28:15.000000000 UTC"),
        (0x00000000_80000000, "2036-02-07 06:28:16.500000000 UTC"),
        (0x7FFFFFFF_00000000, "2104-02-26 09:42:23.000000000 UTC"),
    ],
)
def test_timestamps_are_read_as_rfc_4330_says(stamp, text):
    assert ntp_client.utc(ntp_client.to_unix_ns(stamp)) == text


@given(unix_times)
def test_a_time_survives_the_way_to_a_timestamp_and_back(unix_ns):
    assert ntp_client.to_unix_ns(timestamp(unix_ns)) == unix_ns


@given(st.integers(-(10**20), 10**20))
def test_seconds_lose_nothing(ns):
    assert int(ntp_client.seconds(ns).replace(".", "")) == ns


@given(st.integers(0, 2**32), st.integers(-40, 4))
def test_powers_of_two_are_rounded_up_to_the_next_ns(number, exponent):
    exact = Fraction(number) * Fraction(2) ** exponent * SECOND
    assert exact * (1 - Fraction(1, 2**52)) <= ntp_client.binary_to_ns(number, exponent) < exact + 2


# ---- The interval

waits = st.integers(0, 2 * SECOND)
rates = st.integers(-1000, 1000)  # how much faster the server's clock runs, in millionths


@st.composite
def exchanges(draw):
    """Draw exchanges between two clocks, each as (reply, T1, T4, the true offset at T4).

    Any offset, any time for each way and at the server, and any drift up to a thousandth, which
    changes from step to step.
    """
    here, there = draw(unix_times), draw(st.integers(FIRST + 1000 * SECOND, LAST - 1000 * SECOND))
    offset = Fraction(there - here)
    drawn = []
    for _ in range(draw(st.integers(1, 5))):
        times = []
        for wait in draw(st.tuples(st.integers(0, 100 * SECOND), waits, waits, waits)):
            here += wait
            offset += wait * Fraction(draw(rates), 10**6)
            times.append((here, int(here + offset)))
        (t1, _), (_, t2), (_, t3), (t4, _) = times
        drawn.append((a_reply(t2, t3), t1, t4, offset))
    return drawn


@given(exchanges())
def test_the_truth_lies_in_the_results_interval_which_is_no_wider_than_any_samples(drawn):
    samples = [exchange(reply, t1, t4) for reply, t1, t4, _ in drawn]
    result = ntp_client.combine(samples)
    truths = [truth for *_, truth in drawn]
    for sample, truth in zip(samples, truths):
        assert sample.low <= truth <= sample.high
        assert result.high - result.low <= sample.high - sample.low
    truth = truths[samples.index(result.narrowest)]
    assert result.low <= truth <= result.high
    assert abs(result.offset - truth) <= result.root_distance


@given(unix_times, unix_times, waits, waits, waits)
def test_one_sample_is_its_own_overlap_and_its_sums_are_the_formulas(here, t2, there, stay, back):
    t3, t1, t4 = min(t2 + stay, LAST), here, here + there + stay + back
    sample = exchange(a_reply(t2, t3), t1, t4)
    t2, t3 = sample.t2, sample.t3
    assert sample.offset == ((t2 - t1) + (t3 - t4)) // 2
    assert sample.delay == (t4 - t1) - (t3 - t2)
    result = ntp_client.combine([sample])
    assert (result.low, result.high) == (sample.low, sample.high)
    assert result.offset == sample.offset
    assert result.root_distance == (sample.delay + 1) // 2 + sample.dispersion
    assert sample.dispersion >= 2 + (t4 - t1) / 1000


@given(st.integers(-(2**19), 2**19), st.integers(0, 2**18), st.integers(-128, 1))
def test_the_root_distance_is_never_below_what_the_server_admits(
    root_delay, root_dispersion, precision
):
    now = 1_700_000_000 * SECOND
    reply = a_reply(now, now, precision, root_delay, root_dispersion)
    result = ntp_client.combine([exchange(reply, now, now)])
    exact = SECOND * (abs(root_delay) + 2 * root_dispersion) / 2**17 + SECOND * 2.0**precision
    assert exact * (1 - 1e-12) <= result.root_distance <= exact * (1 + 1e-12) + 6


# ---- Text


@given(st.binary(min_size=48, max_size=60), unix_times, unix_times)
def test_whatever_the_bytes_a_reply_is_refused_or_measured_and_shown_without_a_fault(reply, t1, t4):
    shown = [ntp_client.dissect(reply)]
    with contextlib.suppress(ntp_client.Failure):
        sample = exchange(reply, t1, t4)
        result = ntp_client.combine([sample])
        assert 0 <= result.root_distance < 16 * SECOND
        assert sample.low <= sample.offset <= sample.high
        shown += [ntp_client.arithmetic(sample), ntp_client.report("name", result)]
        shown.append(ntp_client.drawn("sample 1000000", sample, sample))
        assert json.loads(ntp_client.as_json("name", result, 1, 1, 0))["t1"]
    for text in shown:
        for row in text.splitlines():
            assert len(row) <= 80
            assert row.isascii()
            assert row.isprintable()


@given(st.text())
def test_printable_text_is_printable_ascii_and_keeps_what_was(text):
    shown = ntp_client.printable(text)
    assert shown.isascii()
    assert shown.isprintable()
    if text.isascii() and text.isprintable():
        assert shown == text


# ---- The drawing


def drawn(low, high, first=(-12_000, 12_000)):
    """Return the drawing of an interval on the axis that first sets: 2 us a column."""
    interval, first = (
        ntp_client.Result(None, low, high, 0, 0) for low, high in ((low, high), first)
    )
    return ntp_client.drawn("", interval, first)[12:37]


@pytest.mark.parametrize(
    ("low", "high", "row"),
    [
        (-12_000, 12_000, "      |-----------|      "),
        (-6_000, 6_000, "         |-----|         "),
        (-5_500, 6_500, "         |-----|         "),
        (1_000, 1_500, "            |            "),
        (-22_000, 22_000, " |---------------------| "),
        (-24_000, 0, "<-----------|            "),
        (0, 24_000, "            |----------->"),
        (-90_000, 90_000, "<----------------------->"),
        (-90_000, -80_000, "<                        "),
        (80_000, 90_000, "                        >"),
        (-(10**19), 10**19, "<----------------------->"),
    ],
)
def test_each_interval_is_drawn_on_the_axis_that_the_first_one_sets(low, high, row):
    assert drawn(low, high) == row


def test_beside_the_drawing_stand_the_middle_and_half_the_width_rounded_up():
    interval = ntp_client.Result(None, -10, 1_000_000_011, 500_000_000, 0)
    text = ntp_client.drawn("sample 1000000", interval, interval)
    assert text == ("sample 1000000       |-----------|       +0.500000000 +- 0.500000011 s")


@given(st.integers(-(10**6), 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_what_lies_outside_the_axis_shows_on_which_side(low, width, first_width):
    row = drawn(low, low + width, (0, first_width))
    assert len(row) == 25
    assert (row[0] == "<") == (low * 12 < -5 * first_width)
    assert (row[-1] == ">") == ((low + width) * 12 >= first_width * 18)
    assert row.strip("<|>- ") == ""
