"""Part 5: which replies the client refuses, which it believes, and what it says of them."""

import json
import re
import time

import pytest

from fake_ntp_server import honest, reply_to, timestamp
from helpers import (
    NOT_ASKED_AGAIN,
    NOT_SYNCHRONIZED,
    SECOND,
    assert_one_error_line,
    changed,
    client,
    read_json,
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


def transmitted(seconds, **changes):
    """Return the behaviour of a server whose T3 is so many s after T2."""
    return lambda request: [
        reply_to(request, transmit=timestamp(request.arrived + round(seconds * SECOND)), **changes)
    ]


REFUSED = {
    **{f"version {n}": (changed(version=n), f" version {n}, ") for n in (0, 5, 7)},
    **{what: (changed(**fields), NOT_SYNCHRONIZED) for what, fields in UNSYNCHRONIZED.items()},
    "no transmit timestamp": (changed(transmit=0), "transmit timestamp"),
    "no receive timestamp": (changed(receive=0), "receive "),
    "T3 before T2": (transmitted(-3), "went back by 3.0"),
    "T3 before T2 by more than the precision": (
        transmitted(-0.02, precision=-6),
        "went back by 0.0",
    ),
    "more time at the server than in all": (transmitted(100), "longer than the whole exchange"),
    "a root delay of 33 s": (changed(root_delay=33 << 16), " may be wrong by 16.5"),
    "a root delay of -32767 s": (
        changed(root_delay=-(32767 << 16) % 2**32),
        " may be wrong by 1638",
    ),
    "a root dispersion of 16 s": (changed(root_dispersion=16 << 16), " may be wrong by 16.0"),
    "a root dispersion of 8 s and a root delay of 16": (
        changed(root_dispersion=(8 << 16) - 1, root_delay=16 << 16),
        " margin of error is 16.0",
    ),
    "a clock that ticks every 16 s": (changed(precision=4), " margin of error is 16."),
    "a clock that ticks in aeons": (
        changed(precision=127),
        " margin of error is 170141183460469",
    ),
}


def test_a_reply_that_makes_no_good_sample_is_refused_with_the_reason(in_turn):
    server = in_turn(honest, *(behaviour for behaviour, _ in REFUSED.values()))
    result = client("-n", 1 + len(REFUSED), "-i", 0, "-t", 50, server.host, server.port)
    warnings = dict(re.findall(r"warning: sample (\d+) was lost: (.*\n)", result.stderr))
    for number, (what, (_, words)) in enumerate(REFUSED.items(), start=2):
        warning = warnings.get(str(number), f"accepted: {what}")
        assert words in warning
        assert warning.endswith("if this persists, try another server\n")
    assert read_report(result.stdout).samples == f"1 good, {len(REFUSED)} lost"


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


def test_what_honest_servers_in_the_field_send_is_believed(in_turn):
    server = in_turn(*(changed(**changes) for changes in BELIEVED.values()))
    result = client("--json", "-n", len(BELIEVED), "-i", 0, server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    *samples, _ = read_json(result.stdout)
    for what, sample in zip(BELIEVED, samples):
        assert abs(sample["offset"]) < 1, what
    assert len(samples) == len(BELIEVED)


def test_the_size_of_a_negative_root_delay_counts(ask):
    result = ask(changed(root_delay=-(2 << 16) % 2**32, root_dispersion=0), "--json")
    assert 1 < json.loads(result.stdout)["root_distance"] < 2


def test_random_bits_below_the_servers_precision_are_believed(ask):
    result = ask(transmitted(-0.2, precision=-2), "--json")  # a clock that ticks 4 times a second
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert abs(shown["offset"]) < shown["root_distance"]


def test_a_delay_that_clocks_of_large_steps_make_negative_is_believed_and_shown(ask):
    coarse = transmitted(5, precision=3)  # a clock that ticks once in 8 s, and ticked in between
    shown = json.loads(ask(coarse, "--json").stdout)
    assert -5 <= shown["delay"] < 0
    assert abs(shown["offset"]) < shown["root_distance"]
    assert -5 <= read_report(ask(coarse).stdout).delay < 0


def test_what_follows_the_header_is_not_read(ask):
    for size in (4, 9000):
        result = ask(lambda request, size=size: [reply_to(request) + b"\xff" * size])
        assert result.returncode == 0
