"""Part 5: the report, JSON and -v, against figures that the tests work out."""

import json
import re
import time
from decimal import Decimal

import pytest

from fake_ntp_server import honest, reply_to, timestamp
from helpers import SECOND, client, linux_only, read_report


def date(unix_ns):
    """Return a Unix time in ns as the client shows it, without the word UTC."""
    whole, ns = divmod(unix_ns, SECOND)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(whole))}.{ns:09d}"


def decimal(ns, sign=""):
    """Return ns in seconds, as text with nine decimals."""
    return f"{Decimal(ns).scaleb(-9):{sign}.9f}"


# ---- One exchange of which all four times are known

# This computer's clock shows T1 when the request leaves, and T4 is what the kernel says: both
# are fixed here, so that each figure can be worked out.
T1 = 1_795_000_000_123_456_789
T4 = T1 + 7_000_000
T2 = T1 + 25 * 3600 * SECOND + 2_000_000  # the next day
T3 = T2 + 1_000_000
OFFSET = ((T2 - T1) + (T3 - T4)) // 2
DELAY = (T4 - T1) - (T3 - T2)
# A step of the server's clock, 2^-20 s, and one of this clock; 1001 ppm of T4 - T1 and a step.
DISPERSION = 954 + 1 + 7_008
SERVER_ERROR = 2_502_442  # 66 / 2^17 + 131 / 2^16 s, rounded up
DISTANCE = DELAY // 2 + DISPERSION + SERVER_ERROR

pytestmark = linux_only


@pytest.fixture
def known(fake_server):
    """Return a function that runs the client with these options; all four times are those above."""

    def known(*options, step=1e-9, **changes):
        fields = {
            "receive": timestamp(T2),
            "transmit": timestamp(T3),
            "reference": timestamp(T2 - SECOND),
        }
        server = fake_server(lambda request: [reply_to(request, **{**fields, **changes})])
        patches = [("resolves_to", "127.0.0.1"), ("known_times", T1, T4, step)]
        result = client(*options, "known.example", server.port, patches=patches)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout.replace(str(server.port), "1234")

    return known


def test_the_report_shows_the_server_both_clocks_and_how_far_apart_they_are(known):
    assert (
        known(stratum=3)
        == f"""\
Server:          known.example
Address:         127.0.0.1 port 1234, stratum 3
Server's clock:  {date(T4 + OFFSET)} UTC, when the reply arrived
This computer:   {date(T4)} UTC, at the same moment
Offset:          {decimal(OFFSET, "+")} s, so this clock is behind the server's
Delay:           {decimal(DELAY)} s, the total travel time of both packets
Margin of error: {decimal(DISTANCE)} s (root distance), if the server tells the truth
"""
    )


@pytest.mark.parametrize(("leap", "length"), [(1, 61), (2, 59)])
def test_a_leap_second_that_the_server_announces_is_said(known, leap, length):
    last = known(leap=leap).splitlines()[-1]
    assert re.fullmatch(rf"Leap second: +the month's last minute has {length} s", last)
    assert json.loads(known("--json", leap=leap))["leap"] == leap


def test_json_has_the_same_figures_and_the_header(known):
    assert json.loads(known("--json", root_delay=2**32 - 66)) == {
        "sample": None,
        "samples": 1,
        "lost": 0,
        "narrowest": 1,
        "server": "known.example",
        "address": "127.0.0.1",
        "port": 1234,
        "stratum": 2,
        "leap": 0,
        "precision": 2**-20,
        "reference_id": "7f7f0101",
        "root_delay": -66 / 2**16,
        "root_dispersion": 131 / 2**16,
        "t1": decimal(T1),
        "t2": decimal(T2),
        "t3": decimal(T3),
        "t4": decimal(T4),
        "offset": OFFSET / SECOND,
        "delay": DELAY / SECOND,
        "dispersion": DISPERSION / SECOND,
        "root_distance": round(DISTANCE / SECOND, 9),
    }


def test_v_draws_the_four_times_and_puts_the_numbers_into_the_formulas(known):
    t1, t2, t3, t4 = (date(unix_ns).split()[1] for unix_ns in (T1, T2, T3, T4))
    text = known("-v")
    assert text.startswith(f"""\
                     T2 = {t2}     T3 = {t3}
server's clock  -----+---------------------------+------------------------->
                    /                             \\
           request /                               \\ reply
                  /                                 \\
this computer  --+-----------------------------------+--------------------->
                 T1 = {t1}             T4 = {t4}

offset = ((T2 - T1) + (T3 - T4)) / 2
       = (({decimal(T2 - T1, "+")}) + ({decimal(T3 - T4, "+")})) / 2 s
       = {decimal(OFFSET, "+")} s

delay  = (T4 - T1) - (T3 - T2)
       = {decimal(T4 - T1)} - {decimal(T3 - T2)} s
       = {decimal(DELAY)} s

root distance = delay / 2 + dispersion + (root delay / 2 + root dispersion)
  = {decimal(DELAY // 2)} + {decimal(DISPERSION)} + {decimal(SERVER_ERROR)} s
  = {decimal(DISTANCE)} s

Request, 48 bytes:
""")
    request, reply, report = re.split("^Re(?:quest|ply), 48 bytes:\n|^Server: ", text, flags=re.M)[
        1:
    ]
    assert "random bits" in request
    assert date(T2) in reply
    assert f"Offset:          {decimal(OFFSET, '+')} s" in report


def test_a_step_of_this_computers_clock_is_in_the_dispersion(known):
    text = known("-v", step=1e-2)
    dispersion = 954 + 10_000_000 + 17_017  # drift over 17 ms: T4 - T1 may be a step short
    assert f" + {decimal(dispersion)} + " in text
    assert read_report(text).margin == (DISTANCE - DISPERSION + dispersion) / SECOND


# ---- What the offset says


@pytest.mark.parametrize(
    ("offset", "verdict"),
    [
        (0, "within the margin of error"),
        (3600, "so this clock is behind the server's"),
        (-3600, "so this clock is ahead of the server's"),
    ],
)
def test_beyond_the_root_distance_this_clock_is_behind_the_servers_or_ahead(ask, offset, verdict):
    report = read_report(ask(lambda request: honest(request, offset * SECOND), "-t", 50).stdout)
    assert report.verdict == verdict
    assert abs(report.offset - offset) < 1


def test_the_report_fits_80_columns_whatever_the_name_and_the_offset(fake_server):
    server = fake_server(lambda request: honest(request, offset=60 * 365 * 86400 * SECOND))
    for options in ([], ["-n", "2", "-i", "0"], ["-v"]):
        result = client(*options, "localhost", server.port, patches=[("resolves_to", "127.0.0.1")])
        assert result.returncode == 0
        assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_a_name_that_a_terminal_would_obey_is_escaped(fake_server):
    server = fake_server()
    for options in ([], ["-n", "2", "-i", "0"], ["-v"], ["--json"], ["-t", "0.001"]):
        patches = [("resolves_to", "127.0.0.1")]
        result = client(*options, "\x1b]2;\x7f", server.port, patches=patches)
        text = (result.stdout + result.stderr).replace("\n", "")
        assert options or r"\x1b]2;\x7f" in text
        assert text.isascii()
        assert text.isprintable()
