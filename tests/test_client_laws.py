"""The client's arithmetic, and what holds of it for every input.

All tests that import the client are here. They use what the arithmetic consists of, and what makes
text of it: to_unix_ns, measure, refusal, root_distance; utc, seconds, printable, dissect,
arithmetic, report and as_json.
"""

import datetime

import pytest

import ntp_client
from conftest import SECOND
from fake_ntp_server import HEADER, timestamp

pytest.importorskip("hypothesis", reason="hypothesis is not installed; tests/run installs it")
from hypothesis import given
from hypothesis import strategies as st

FIRST, LAST = (
    ntp_client.to_unix_ns(1 << 63),
    ntp_client.to_unix_ns((1 << 63) - 1) - 1,
)  # 1968 and 2104
unix_times = st.integers(FIRST, LAST)
stamps = st.integers(0, 2**64 - 1)


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


@given(st.integers(0, 2**64 - 2))
def test_timestamps_keep_their_order_within_the_range(number):
    earlier, later = ((1 << 63) + number) % 2**64, ((1 << 63) + number + 1) % 2**64
    assert ntp_client.to_unix_ns(earlier) <= ntp_client.to_unix_ns(later)


waits = st.integers(0, 5 * SECOND)


def sample_of(reply, t1, t4):
    return ntp_client.measure(("127.0.0.1", 123), reply, 0, t1, t4, 0)


@given(
    unix_times.filter(lambda ns: ns < LAST - 20 * SECOND),
    st.integers(-(10**19), 10**19),
    waits,
    waits,
    waits,
)
def test_the_offset_is_right_to_half_the_delay_and_the_root_distance_says_so(
    t2, offset, there, at_server, back
):
    t3 = t2 + at_server
    reply = HEADER.pack(
        4 << 3 | 4, 2, 6, -30, 0, 0, b"", timestamp(t2), 1, timestamp(t2), timestamp(t3)
    )
    t1, t4 = t2 - offset - there, t3 - offset + back
    sample = sample_of(reply, t1, t4)
    assert sample.delay == max(there + back, 1)
    assert abs(sample.offset - offset) <= (there + back + 1) // 2
    assert abs(sample.offset - offset) <= ntp_client.root_distance(sample)
    assert ntp_client.root_distance(sample) >= (there + back) // 2 + (t4 - t1) * 15 // 10**6


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1), st.integers(-128, 127))
def test_the_root_distance_is_never_below_what_the_server_admits(
    root_delay, root_dispersion, precision
):
    now = timestamp(1_700_000_000 * SECOND)
    reply = HEADER.pack(
        4 << 3 | 4, 2, 6, precision, root_delay % 2**32, root_dispersion, b"", now, 1, now, now
    )
    distance = ntp_client.root_distance(
        sample_of(reply, 1_700_000_000 * SECOND, 1_700_000_000 * SECOND)
    )
    exact = SECOND * (abs(root_delay) + 2 * root_dispersion) / 2**17 + SECOND * 2.0**precision
    assert exact * (1 - 1e-12) <= distance <= exact * (1 + 1e-12) + 6


@given(st.binary(min_size=48, max_size=60), unix_times, unix_times)
def test_whatever_the_bytes_a_reply_is_measured_judged_and_shown_without_a_fault(reply, t1, t4):
    sample = sample_of(reply, t1, t4)
    reason = ntp_client.refusal(sample)
    assert reason is None or (reason.isascii() and reason.isprintable())
    if reason is None:
        assert 0 <= ntp_client.root_distance(sample) < 16 * SECOND
    shown = [
        ntp_client.dissect(reply),
        ntp_client.arithmetic(sample),
        ntp_client.as_json("name", sample, [sample]),
    ]
    for text in [*shown, ntp_client.report("name", sample, [sample])]:
        assert text.isascii()
        assert text.replace("\n", "").isprintable()


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


@given(st.binary(min_size=48, max_size=48))
def test_any_48_bytes_are_shown_in_80_columns_of_printable_ascii(packet):
    for line in ntp_client.dissect(packet).splitlines():
        assert len(line) <= 80
        assert line.isascii()
        assert line.isprintable()
