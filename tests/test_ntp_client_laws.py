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
    assert sample.dispersion >= (t4 - t1) * 15 // 10**6  # RFC 5905, section 9.2: what the clocks may have drifted
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


@given(st.binary(min_size=47, max_size=49), st.booleans(), st.binary(min_size=48, max_size=48))
def test_only_48_bytes_of_mode_4_with_the_random_bits_are_the_answer(packet, echoed, request):
    if echoed:
        packet = packet[:24] + request[40:48] + packet[32:]
    is_the_answer = len(packet) >= 48 and packet[0] % 8 == 4 and packet[24:32] == request[40:48]
    assert (ntp_client.not_the_answer(packet, request) is None) == is_the_answer


def sample(offset, delay, root_distance, t4=0):
    """Return a Sample of which only these count."""
    return ntp_client.Sample(b"", b"", None, 0, 0, 0, t4, offset, delay, 0, root_distance)


spans = st.integers(0, 10**9)


@given(st.integers(-(10**9), 10**9), spans, spans, st.integers(0, 10**12))
def test_samples_contradict_each_other_exactly_when_no_offset_suits_both(offset, one, other, later):
    best = sample(0, 1, one)
    drift = later // 2000  # 500 parts in a million
    samples = [sample(offset, 2, other, t4=later), best]
    if abs(offset) > one + other + drift:
        with pytest.raises(ntp_client.NoTime, match="contradict"):
            ntp_client.choose(samples)
    else:
        assert ntp_client.choose(samples) is best


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**9))
def test_a_negative_delay_does_not_make_the_root_distance_smaller(delay, dispersion):
    header = ntp_client.unpack(bytes(48))
    assert sum(ntp_client.error_terms(header, delay, dispersion)) == dispersion + max(0, (delay + 1) // 2)


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
