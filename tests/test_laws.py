"""The client's arithmetic, and what makes text of it: what holds for every input."""

import argparse
import contextlib
import io
import json
import socket
import time
import types
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

# 1968 and 2104
FIRST = ntp_client.to_unix_ns(1 << 63)
LAST = ntp_client.to_unix_ns((1 << 63) - 1) - 1
unix_times = st.integers(FIRST, LAST)
SERVER = ntp_client.Server(socket.AF_INET, ("127.0.0.1", 123), "127.0.0.1", "127.0.0.1 port 123")
REQUEST = b"\x23" + bytes(46) + b"\x01"


def measure(reply, t1, t4, step=1):
    """Return the Sample of an exchange with these times and this reply, and why it is refused."""
    exchange = ntp_client.Exchange(SERVER)
    exchange.request, exchange.random_bits, exchange.t1 = REQUEST, REQUEST[40:], t1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ntp_client, "receive", lambda *_: (reply, t4))
        clock = types.SimpleNamespace(resolution=step / SECOND)
        patch.setattr(time, "get_clock_info", lambda name: clock)
        sample = exchange.receive_reply()
    return sample, sample and ntp_client.check(sample)


def narrowest(samples):
    """Return the Sample that has the narrowest interval."""
    return min(samples, key=lambda sample: sample.high - sample.low)


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


@given(st.integers(0, 2**32), st.integers(-40, 4))
def test_durations_are_rounded_up_to_the_next_ns(number, exponent):
    exact = Fraction(number) * Fraction(2) ** exponent
    error = exact * SECOND * Fraction(1, 2**52)
    assert exact * SECOND - error <= ntp_client.to_ns(number * 2.0**exponent)
    assert ntp_client.to_ns(number * 2.0**exponent) < exact * SECOND + error + 1


@given(st.integers(-(10**14), 10**14))
def test_two_clocks_of_500_ppm_drift_apart_by_no_more_than_max_drift_of_the_slower_one(elapsed):
    fastest = Fraction(1_000_500, 999_500) * abs(elapsed) - abs(elapsed)
    assert fastest <= ntp_client.max_drift(elapsed) <= fastest * Fraction(101, 100) + 1


# ---- The interval

waits = st.integers(0, 2 * SECOND)
ppm = st.sampled_from([-500, 500]) | st.integers(-500, 500)
steps = st.sampled_from([1, 1000, 15_625_000])  # of this computer's clock, in ns


class Clock:
    """A clock that counts in steps (ns) and runs faster than true time by some ppm."""

    def __init__(self, start, step):
        self.exact = Fraction(start)
        self.step = Fraction(step)

    def go_on(self, ns, faster):
        self.exact += ns * (1 + Fraction(faster, 10**6))

    def read(self):
        return int(self.exact // self.step * self.step)


@st.composite
def exchanges(draw):
    """Draw exchanges with one server, each as (reply, T1, T4, the real offset at T4), and a step.

    Any offset, any time for each way and at the server; both clocks count in steps, and each gains
    or loses up to 500 ppm of true time, another figure in each stretch of it.
    """
    step, precision = draw(steps), draw(st.sampled_from([-30, -20, -6]))
    middle = st.integers(FIRST + 2000 * SECOND, LAST - 2000 * SECOND)
    here = Clock(draw(middle), step)
    there = Clock(draw(middle), Fraction(SECOND) * Fraction(2) ** precision)
    drawn = []
    for _ in range(draw(st.integers(1, 5))):
        readings = []
        for wait in draw(st.tuples(st.integers(0, 300 * SECOND), waits, waits, waits)):
            here.go_on(wait, draw(ppm))
            there.go_on(wait, draw(ppm))
            readings.append((here.read(), there.read()))
        (t1, _), (_, t2), (_, t3), (t4, _) = readings
        drawn.append((a_reply(t2, t3, precision), t1, t4, there.exact - here.exact))
    return drawn, step


@given(exchanges())
def test_the_real_offset_lies_where_all_samples_overlap(drawn_and_step):
    drawn, step = drawn_and_step
    samples = [measure(reply, t1, t4, step)[0] for reply, t1, t4, _ in drawn]
    base = narrowest(samples)
    result = ntp_client.overlap(samples, base)
    truths = [truth for *_, truth in drawn]
    for sample, truth in zip(samples, truths):
        assert sample.low <= truth <= sample.high
        assert result.high - result.low <= sample.high - sample.low
    truth = truths[samples.index(base)]
    assert result.low <= truth <= result.high
    assert abs(result.offset - truth) <= ntp_client.root_distance(result)


@st.composite
def honest_servers(draw):
    """Draw exchanges with up to four servers behind one address, as (reply, T1, T4, UTC - T4).

    Each is off UTC by no more than it says. This computer's clock gains or loses up to 500 ppm.
    """
    claims = draw(st.lists(st.integers(0, 2**13), min_size=1, max_size=4))  # in 2^-16 s
    errors = [draw(st.integers(-claim, claim)) * SECOND // 2**16 for claim in claims]
    utc = draw(st.integers(FIRST + 2000 * SECOND, LAST - 2000 * SECOND))
    here = Clock(draw(st.integers(FIRST + 2000 * SECOND, LAST - 2000 * SECOND)), 1)
    drawn = []
    for _ in range(draw(st.integers(1, 6))):
        which = draw(st.integers(0, len(claims) - 1))
        readings = []
        trips = st.integers(0, SECOND // 10)
        for wait in draw(st.tuples(st.integers(0, 20 * SECOND), trips, trips, trips)):
            utc += wait
            here.go_on(wait, draw(ppm))
            readings.append((here.read(), utc + errors[which]))
        (t1, _), (_, t2), (_, t3), (t4, _) = readings
        reply = a_reply(t2, t3, root_dispersion=claims[which])
        drawn.append((reply, t1, t4, utc - here.exact))
    return drawn


@given(honest_servers())
def test_the_root_distance_holds_against_utc_whichever_honest_server_answers(drawn):
    samples = [measure(reply, t1, t4)[0] for reply, t1, t4, _ in drawn]
    with contextlib.suppress(ntp_client.Failure):  # they may contradict each other
        base = narrowest(samples)
        result = ntp_client.overlap(samples, base)
        truth = drawn[samples.index(base)][-1]
        assert abs(result.offset - truth) <= ntp_client.root_distance(result)


@given(unix_times, unix_times, waits, waits, waits)
def test_one_sample_is_its_own_overlap_and_its_sums_are_the_formulas(here, t2, there, stay, back):
    t3, t1, t4 = min(t2 + stay, LAST), here, here + there + stay + back
    sample, _ = measure(a_reply(t2, t3), t1, t4)
    t2, t3 = sample.t2, sample.t3
    assert sample.offset == ((t2 - t1) + (t3 - t4)) // 2
    assert sample.delay == (t4 - t1) - (t3 - t2)
    assert ntp_client.overlap([sample], sample) == sample
    assert ntp_client.root_distance(sample) == (sample.delay + 1) // 2 + sample.dispersion
    assert sample.dispersion >= 2 + (t4 - t1) / 1000


# ---- Text


@given(
    st.binary(min_size=24, max_size=36), st.binary(min_size=16, max_size=16), unix_times, unix_times
)
def test_whatever_the_bytes_a_reply_is_refused_or_measured_and_shown(start, times, t1, t4):
    packet = start[:24].ljust(24, b"\0") + REQUEST[40:] + times + start[24:]
    shown = [ntp_client.dissect(packet)]
    sample, failure = measure(packet, t1, t4)
    assert (sample is None) == (packet[0] & 7 != 4)
    if sample:
        shown += [ntp_client.explain(sample), str(failure)]
    if sample and not failure:
        assert 0 <= ntp_client.root_distance(sample) < 16 * SECOND
        assert sample.low <= sample.offset <= sample.high
        shown.append(ntp_client.draw("sample 1000000", sample, sample))
        for as_json in (False, True):
            args = argparse.Namespace(json=as_json, count=1, server="name")
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                ntp_client.print_result(args, [sample])
            assert not as_json or json.loads(printed.getvalue())["t1"]
            shown += [] if as_json else [printed.getvalue()]
    for text in shown:
        for row in text.splitlines():
            assert len(row) <= 80 or failure  # sums of an absurd precision may be longer
            assert row.isascii()
            assert row.isprintable()


# ---- The drawing


def interval(low, high):
    """Return a Sample of which only the interval is known."""
    empty = dict.fromkeys(ntp_client.Sample._fields)
    return ntp_client.Sample(**{**empty, "low": low, "high": high, "offset": (low + high) // 2})


def drawn(low, high, first=(-12_000, 12_000)):
    """Return the drawing of an interval on the axis that first sets: 2 us a column."""
    return ntp_client.draw("", interval(low, high), interval(*first))[12:37]


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
    one = interval(-10, 1_000_000_011)
    text = ntp_client.draw("sample 1000000", one, one)
    assert text == ("sample 1000000       |-----------|       +0.500000000 +- 0.500000011 s")


@given(st.integers(-(10**6), 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_what_lies_outside_the_axis_shows_on_which_side(low, width, first_width):
    row = drawn(low, low + width, (0, first_width))
    assert len(row) == 25
    assert (row[0] == "<") == (low * 12 < -5 * first_width)
    assert (row[-1] == ">") == ((low + width) * 12 >= first_width * 18)
    assert row.strip("<|>- ") == ""
