"""What holds of the client's arithmetic for every input: its laws, as hypothesis looks for an exception to them."""

import datetime

import pytest

import ntp_client
from fake_ntp_server import HEADER, timestamp

pytest.importorskip("hypothesis", reason="hypothesis is not installed; tests/run installs it")
from hypothesis import given
from hypothesis import strategies as st

SECOND = 10**9
FIRST, LAST = ntp_client.to_unix_ns(1 << 63), ntp_client.to_unix_ns((1 << 63) - 1) - 1  # 1968 and 2104
unix_times = st.integers(FIRST, LAST)
stamps = st.integers(0, 2**64 - 1)


@given(unix_times)
def test_a_time_survives_the_way_to_a_timestamp_and_back(unix_ns):
    assert ntp_client.to_unix_ns(timestamp(unix_ns)) == unix_ns


@given(stamps)
def test_a_timestamp_survives_the_way_to_a_time_and_back_but_for_a_nanosecond(stamp):
    back = timestamp(ntp_client.to_unix_ns(stamp))
    distance = (back - stamp) % 2**64
    assert min(distance, 2**64 - distance) <= 2**32 // SECOND + 1  # in units of 2**-32 s


@given(unix_times, unix_times)
def test_times_keep_their_order(one, other):
    by_time = [one, other] if one <= other else [other, one]
    assert ntp_client.to_unix_ns(timestamp(by_time[0])) <= ntp_client.to_unix_ns(timestamp(by_time[1]))


@given(st.integers(0, 2**64 - 2))
def test_timestamps_keep_their_order_within_the_range(number):
    earlier, later = ((1 << 63) + number) % 2**64, ((1 << 63) + number + 1) % 2**64
    assert ntp_client.to_unix_ns(earlier) <= ntp_client.to_unix_ns(later)


@given(st.integers(0, 2**32 - 1))
def test_a_short_time_is_never_rounded_down(value):
    assert 0 <= ntp_client.short_to_ns(value) * 2**16 - value * SECOND < 2**16


@given(st.integers(-128, 127))
def test_a_power_of_two_is_never_rounded_down(exponent):
    ns = ntp_client.power_to_ns(exponent)
    if exponent >= 0:
        assert ns == SECOND * 2**exponent
    else:
        assert 0 <= ns * 2**-exponent - SECOND < 2**-exponent


waits = st.integers(0, 5 * SECOND)


@given(unix_times.filter(lambda ns: ns < LAST - 20 * SECOND), st.integers(-(10**19), 10**19), waits, waits, waits)
def test_the_offset_is_right_to_half_the_delay_and_the_root_distance_says_so(t2, offset, there, at_server, back):
    t3 = t2 + at_server
    reply = HEADER.pack(4 << 3 | 4, 2, 6, -30, 0, 0, b"", timestamp(t2), 1, timestamp(t2), timestamp(t3))
    t1, t4 = t2 - offset - there, t3 - offset + back
    sample = ntp_client.measure(bytes(48), reply, t1, t4, 0)
    assert sample.delay == there + back
    assert abs(sample.offset - offset) <= (there + back + 1) // 2
    assert abs(sample.offset - offset) <= sample.root_distance
    if abs(offset) > (there + back + 1) // 2:
        assert (sample.offset > 0) == (offset > 0)


@given(st.binary(min_size=48, max_size=60), unix_times, unix_times)
def test_whatever_the_bytes_a_reply_is_measured_and_judged_without_a_fault(reply, t1, t4):
    sample = ntp_client.measure(bytes(48), reply, t1, t4, 0)
    reason = ntp_client.refusal(sample)
    assert reason is None or (reason.isascii() and reason.isprintable())
    if reason is None:
        assert 0 <= sample.root_distance < 16 * SECOND
        assert sample.t2 <= sample.t3


@given(st.binary(min_size=0, max_size=100), st.binary(min_size=48, max_size=48))
def test_nothing_that_lacks_the_random_bits_is_the_answer(packet, request):
    why = ntp_client.not_the_answer(packet, request)
    assert why or packet[24:32] == request[40:48]


@given(st.text())
def test_printable_text_is_printable_ascii_and_keeps_what_was(text):
    shown = ntp_client.printable(text)
    assert shown.isascii()
    assert shown.isprintable()
    if text.isascii() and text.isprintable():
        assert shown == text


@given(st.integers(-(10**18), 10**19))
def test_a_date_is_the_one_that_the_calendar_says(unix_ns):
    whole, ns = divmod(unix_ns, SECOND)
    expected = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=whole)
    assert ntp_client.utc(unix_ns) == f"{expected}.{ns:09d} UTC"


@given(st.integers(-(10**20), 10**20))
def test_seconds_lose_nothing(ns):
    shown = ntp_client.seconds(ns)
    assert int(shown.replace(".", "")) == ns
