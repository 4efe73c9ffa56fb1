"""Part 5: which replies the client refuses, which it believes, and what it says of them."""

import json
import time

import pytest

from fake_ntp_server import reply_to, timestamp
from helpers import (
    NOT_ASKED_AGAIN,
    NOT_SYNCHRONIZED,
    SECOND,
    assert_one_error_line,
    changed,
    client,
    read_report,
)

# ---- What is refused

UNSYNCHRONIZED = {
    "leap indicator 3": {"leap": 3},
    "chronyd without the time": {"leap": 3, "stratum": 0, "reference_id": bytes(4)},
    "no stratum and no code": {"stratum": 0, "reference_id": bytes(4)},
    "stratum 16": {"stratum": 16},
    "stratum 17": {"stratum": 17},
    "stratum 255": {"stratum": 255},
}
REFUSED = {
    **{f"version {n}": ({"version": n}, f" version {n}, ") for n in (0, 5, 7)},
    **{what: (changes, NOT_SYNCHRONIZED) for what, changes in UNSYNCHRONIZED.items()},
    "no transmit timestamp": ({"transmit": 0}, "transmit timestamp"),
    "no receive timestamp": ({"receive": 0}, "receive "),
    "a root delay of 33 s": ({"root_delay": 33 << 16}, " may be wrong by 16.5"),
    "a root delay of -32767 s": ({"root_delay": -(32767 << 16) % 2**32}, " may be wrong by 1638"),
    "a root dispersion of 16 s": ({"root_dispersion": 16 << 16}, " may be wrong by 16.0"),
    "a root dispersion of 8 s and a root delay of 16": (
        {"root_dispersion": (8 << 16) - 1, "root_delay": 16 << 16},
        " margin of error is 16.0",
    ),
    "a clock that ticks every 16 s": ({"precision": 4}, " margin of error is 16."),
    "a clock that ticks in aeons": ({"precision": 127}, " margin of error is 170141183460469"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_reply_that_makes_no_good_sample_is_refused_with_the_reason(ask, what):
    changes, words = REFUSED[what]
    result = ask(changed(**changes))
    assert_one_error_line(result, 1, words, "if this persists, try another server\n")
    assert result.stdout == ""


IMPOSSIBLE = {
    "T3 before T2": (
        lambda request: reply_to(request, transmit=timestamp(request.arrived - 3 * SECOND)),
        "went back by 3.0",
    ),
    "T3 before T2 by more than the precision": (
        lambda r: reply_to(r, precision=-6, transmit=timestamp(r.arrived - SECOND // 50)),
        "went back by 0.0",
    ),
    "more time at the server than in all": (
        lambda request: reply_to(request, transmit=timestamp(request.arrived + 100 * SECOND)),
        "longer than the whole exchange",
    ),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_times_that_cannot_be_are_refused(ask, what):
    result = ask(lambda request: [IMPOSSIBLE[what][0](request)], "-t", 50)
    assert_one_error_line(result, 1, IMPOSSIBLE[what][1], "if this persists, try another server\n")
    assert result.stdout == ""


def test_v_shows_also_a_reply_that_is_refused_and_no_sums_if_it_has_no_times(ask):
    result = ask(changed(stratum=16), "-v")
    assert_one_error_line(result, 1, NOT_SYNCHRONIZED)
    for words in ("offset = ((T2 - T1) + (T3 - T4)) / 2", "stratum             16 ("):
        assert words in result.stdout
    assert read_report(result.stdout) is None
    for missing in ("receive", "transmit"):
        result = ask(changed(**{missing: 0}), "-v")
        assert "\nReply, 48 bytes:" in result.stdout
        assert "T1" not in result.stdout


# ---- Kiss-o'-death

KISSES = {
    "DENY": "'DENY' (access denied by the server)",
    "RSTR": "'RSTR' (access denied by the server's policy)",
    "RATE": "'RATE' (too many requests)",
    "INIT": "'INIT' (the server's clock is not yet synchronized)",
    "STEP": "'STEP' (the server's clock was just set)",
    "AUTH": "'AUTH' (a code unknown to this client)",
    "\x1b[2J": r"'\x1b[2J' (",
    "A\xff\n\0": r"'A\xff\n' (",
}


@pytest.mark.parametrize("code", KISSES, ids=ascii)
def test_a_kiss_of_death_is_named_and_explained_and_ends_the_asking(fake_server, code):
    reference_id = code.encode("latin-1")
    server = fake_server(
        changed(stratum=0, reference_id=reference_id, receive=0, transmit=0, leap=3, version=7)
    )
    result = client("-n", 3, "-i", 0, server.host, server.port)
    assert_one_error_line(result, 1, KISSES[code], NOT_ASKED_AGAIN)
    assert len(server.requests) == 1


# ---- What is believed

BELIEVED = {
    "version 1": {"version": 1},
    "version 3": {"version": 3},
    "stratum 1": {"stratum": 1, "reference_id": b"GPS\0"},
    "stratum 15": {"stratum": 15},
    "a leap second to come": {"leap": 1},
    "a leap second to leave out": {"leap": 2},
    "a root distance just below 16 s": {"root_delay": 0, "root_dispersion": (16 << 16) - 6554},
    "the smallest precision": {"precision": -128},
    "the greatest poll": {"poll": 127},
    "the least poll": {"poll": -128},
    "no reference timestamp, from ntpd-rs or Pi-hole": {"reference": 0},
    "a reference timestamp in the future, from ntpd in orphan mode": {"reference": 2**64 - 1},
    "a reference timestamp in Unix seconds": {"reference": int(time.time()) << 32},
    "a negative root delay of version 3": {"root_delay": -66 % 2**32, "version": 3},
}


@pytest.mark.parametrize("what", BELIEVED)
def test_what_honest_servers_in_the_field_send_is_believed(ask, what):
    result = ask(changed(**BELIEVED[what]), "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert abs(json.loads(result.stdout)["offset"]) < 1


def test_the_size_of_a_negative_root_delay_counts(ask):
    result = ask(changed(root_delay=-(2 << 16) % 2**32, root_dispersion=0), "--json")
    assert 1 < json.loads(result.stdout)["root_distance"] < 2


def test_random_bits_below_the_servers_precision_are_believed(ask):
    def coarse(request):  # a clock that ticks 4 times a second
        earlier = request.arrived - SECOND // 10
        return [reply_to(request, precision=-2, transmit=timestamp(earlier))]

    result = ask(coarse, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert abs(shown["offset"]) < shown["root_distance"]


def test_a_delay_that_clocks_of_large_steps_make_negative_is_believed_and_shown(ask):
    def coarse(request):  # a clock that ticks once in 8 s, and ticked in between
        return [reply_to(request, precision=3, transmit=timestamp(request.arrived + 5 * SECOND))]

    shown = json.loads(ask(coarse, "--json").stdout)
    assert -5 <= shown["delay"] < 0
    assert abs(shown["offset"]) < shown["root_distance"]
    assert -5 <= read_report(ask(coarse).stdout).delay < 0


@pytest.mark.parametrize("size", [4, 20, 72, 9000])
def test_what_follows_the_header_is_not_read(ask, size):
    assert ask(lambda request: [reply_to(request) + b"\xff" * size]).returncode == 0
