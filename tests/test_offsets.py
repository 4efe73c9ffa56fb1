"""How test_lab.py finds the offset in what a student's client prints."""

import pytest

from offsets import find_offset

PRINTED = {
    "Offset: 3600.000012 s": (3600.000012, "rfc"),
    "offset = -1.5e-05 seconds": (-1.5e-05, "rfc"),
    "The offset is +0.25s.": (0.25, "rfc"),
    "Offset (ms): 250.5": (0.2505, "rfc"),
    "offset_ms = 250": (0.25, "rfc"),
    "Offset in milliseconds: -250": (-0.25, "rfc"),
    "Offset: 250 ms, delay: 12 ms": (0.25, "rfc"),
    "Delay: 0.001 s, offset: 0.25 s": (0.25, "rfc"),
    "0.25 s offset, 0.001 s delay": (0.25, "rfc"),
    "delay 0.001 s offset 0.25 s": (0.25, "rfc"),
    "-1800.5 seconds is the clock offset": (-1800.5, "rfc"),
    "Offset\n  0.25": (0.25, "rfc"),
    "Average offset in seconds (4 replies):\n-0.25": (-0.25, "rfc"),
    "Offset (average of 4 replies): 0.25": (0.25, "rfc"),
    "offset = ((T2 - T1) + (T3 - T4)) / 2 = 0.25": (0.25, "rfc"),
    "offset = ((T2-T1)+(T3-T4))/2\n0.25": (0.25, "rfc"),
    "offset=1,795,000.5": (1795000.5, "rfc"),
    "{'delay': 0.001, 'offset': -0.25}": (-0.25, "rfc"),
    "Offset: 1:00:00.000012": (3600.000012, "rfc"),
    "Offset: -1 day, 23:30:00": (-1800, "rfc"),
    "T1 = 1795.5\nT4 = 1796.5\nOffset: \N{MINUS SIGN}0.25": (-0.25, "rfc"),
    "2026-11-28 01:02:03 offset 0.25": (0.25, "rfc"),
    "Time difference: 0.25\nOffset: 0.5": (0.5, "rfc"),
    "Offset:1.5e-05": (1.5e-05, "rfc"),
    "Offset: -0:30:00": (-1800, "rfc"),
    "Offset: 250 +/- 1.5 ms": (0.25, "rfc"),
    "server 127.0.0.1, stratum 2, offset 0.25, delay 0.1": (0.25, "rfc"),
    "T1 T2 T3 T4 Offset\n1795.1 1795.2 1795.3 1795.4 0.25": (0.25, "rfc"),
    "The discrepancy between me and 0.us.pool.ntp.org is 0.25 seconds.": (0.25, "own"),
    "Delta: 0.25 s": (0.25, "own"),
    "Offset: +0.25 s, behind\nDelay: 0.1 s, total": (0.25, "rfc"),
    "The discrepancy between this computer and the server is 3600.01 seconds": (3600.01, "own"),
    "Difference = -0.25 s": (-0.25, "own"),
    "1795828225.5\n-0.25": (-0.25, "own"),
    "Your clock is ahead by 0.5 s": (-0.5, "rfc"),
    "You are 3600.1 seconds behind": (3600.1, "rfc"),
    "The server is 0.5 s ahead": (0.5, "rfc"),
    "The server's clock is 0.5 s behind yours": (-0.5, "rfc"),
    "0.5 s behind the server": (0.5, "rfc"),
    "Offset: your clock is slow by 0.5 s": (0.5, "rfc"),
    "According to the server, your clock is 0.5 s behind": (0.5, "rfc"),
    "Offset: -0.5 s => your clock is fast": (-0.5, "rfc"),
    "ahead by 0.5 s": (0.5, "words"),
    "usage: ntp_client.py server port": None,
    "Server time: Sat Nov 28 01:02:03 2026": None,
    "T1: 1795828225.5\nDelay: 0.5": None,
    "Offset: see the report\nDelay: 0.5": None,
}


@pytest.mark.parametrize("text", PRINTED)
def test_the_offset_is_found_and_nothing_else(text):
    found = find_offset(text)
    expected = PRINTED[text]
    assert (found and found.kind) == (expected and expected[1])
    assert not found or found.seconds == pytest.approx(expected[0])
