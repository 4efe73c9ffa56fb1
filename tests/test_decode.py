"""Part 5, --decode: a saved packet is explained field by field, or refused with the way out."""

import calendar
import time

import pytest

import ntp_client
from fake_ntp_server import Request, reply_to
from helpers import TOP, assert_one_error_line, client, run

# What a chronyd at stratum 3, which had its time from another one on 127.0.0.1, answered, by xxd
# -g 4:
CAPTURED = bytes.fromhex("""
    240300e6 00000001 00000001 7f000001
    eeaee66e 80343b57 3c06a663 425c77ac
    eeaee66e f1c5c17b eeaee66e f1cdc470
""")
# The same, worked out by hand: 24 is 00 100 100 in bits, e6 is 230 - 256, 1 / 65536 is 0.0000153,
# 7f is 127;
# eeaee66e is 4004439662, 80343b57 / 2^32 is 0.500796994, and so on.
BY_HAND = """\
Reply, 48 bytes:
 0  240300e6  leap indicator      00...... = 0: no warning
              version             ..100... = 4
              mode                .....100 = 4 (3: request, 4: reply)
              stratum             3 (1: reference clock, 16: not synchronized)
              poll                0: 2^0 s = 1 s
              precision           -26: 2^-26 s = 1.49e-08 s
 4  00000001  root delay          1 * 2^-16 s = 0.000015 s
 8  00000001  root dispersion     1 * 2^-16 s = 0.000015 s
12  7f000001  reference ID        127.0.0.1 or '\\x7f\\x00\\x00\\x01'
16  eeaee66e  reference timestamp 4004439662.500796994 s since the prime epoch:
20  80343b57                      2026-11-23 16:21:02.500796994 UTC
24  3c06a663  originate timestamp copied from the transmit timestamp of the
28  425c77ac                      request that this packet answers (0: none)
32  eeaee66e  receive timestamp   4004439662.944423764 s since the prime epoch:
36  f1c5c17b                      2026-11-23 16:21:02.944423764 UTC
40  eeaee66e  transmit timestamp  4004439662.944546010 s since the prime epoch:
44  f1cdc470                      2026-11-23 16:21:02.944546010 UTC
"""
AS_XXD_SHOWS_IT = """\
00000000: 240300e6 00000001 00000001 7f000001  $...............
00000010: eeaee66e 80343b57 3c06a663 425c77ac  ...n.4;W<..cB\\w.
00000020: eeaee66e f1c5c17b eeaee66e f1cdc470  ...n...{...n...p
"""
A_REQUEST = Request(b"\x23" + bytes(47), None, time.time_ns())


@pytest.fixture
def decode(tmp_path):
    """Return a function that runs --decode on a file that holds these bytes."""

    def decode(content):
        (tmp_path / "saved.bin").write_bytes(content)
        return client("--decode", tmp_path / "saved.bin")

    return decode


def test_a_captured_reply_is_explained_as_it_was_worked_out_by_hand(decode, tmp_path):
    result = decode(CAPTURED)
    assert (result.returncode, result.stdout, result.stderr) == (0, BY_HAND, "")
    with open(tmp_path / "saved.bin", "rb") as saved:
        assert client("--decode", "-", stdin=saved).stdout == BY_HAND
    longer = decode(CAPTURED + b"\xff" * 20)  # what follows the header is only counted
    assert longer.stdout == BY_HAND.replace("48 bytes", "68 bytes")


def test_the_request_of_the_lab_is_explained():
    result = run("ntp_client.py", "--decode", TOP / "packet.binary")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "Request, 48 bytes:"
    assert lines[2].endswith(" ..100... = 4")
    assert lines[-2:] == [
        "40  00000000  transmit timestamp  0:",
        "44  00000000                      not set",
    ]


def test_the_random_bits_of_a_request_are_not_shown_as_a_date(decode):
    text = decode(b"\x23" + bytes(39) + b"\xee\xae\xe6\x6e1234").stdout
    assert "transmit timestamp  a time or random bits," in text
    assert "20" not in text.splitlines()[-1][13:]


@pytest.mark.parametrize(
    "content", [b"\n", b"hello\n" * 20, AS_XXD_SHOWS_IT.encode()], ids=["empty line", "text", "xxd"]
)
def test_text_is_refused_with_the_way_out(decode, content):
    result = decode(content)
    assert_one_error_line(result, 1, "saved.bin'", "text", "xxd -r")
    assert result.stdout == ""


def test_an_empty_file_means_that_no_reply_came(decode):
    assert_one_error_line(decode(b""), 1, "saved.bin' is empty", "no reply arrived")
    assert_one_error_line(client("--decode", "-", input=""), 1, "'-' is empty", "no reply")


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (b"\x24" + bytes(46), 47),
        (b"\xff\xd8\xff\xe0" + bytes(60), 64),
        (b"\x26\x02" + bytes(50), 52),
        (b"\x20" + bytes(47), 48),
    ],
    ids=["47 bytes", "a JPEG", "a control message", "mode 0"],
)
def test_what_is_no_request_or_reply_is_one_clear_line(decode, content, size):
    result = decode(content)
    assert_one_error_line(result, 1, "saved.bin' ", f"({size} bytes, mode ")
    assert result.stdout == ""


def test_what_cannot_be_read_is_one_clear_line(tmp_path):
    assert_one_error_line(client("--decode", tmp_path), 1, "cannot read '", "Is a directory")
    assert_one_error_line(client("--decode", tmp_path / "none\x1b"), 1, "No such file", r"\x1b")


def at(text, fraction=0):
    """Return the NTP timestamp of this date, after 2036 without the era."""
    unix = calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S"))
    return ((unix + 2_208_988_800) % 2**32 << 32) + fraction


@pytest.mark.parametrize(
    ("reply", "lines"),
    [
        (dict(leap=1), ["01...... = 1: the month's last minute has 61 s"]),
        (dict(leap=2), ["10...... = 2: the month's last minute has 59 s"]),
        (dict(leap=3), ["11...... = 3: clock not synchronized"]),
        (dict(mode=3), ["Request, 48 bytes:", " .....011 = 3 ("]),
        (dict(version=1), ["version             ..001... = 1"]),
        (dict(version=7), ["version             ..111... = 7"]),
        (dict(stratum=0), ["stratum             0 ("]),
        (dict(stratum=0, reference_id=b"RATE"), ["82.65.84.69 or 'RATE'"]),
        (dict(stratum=0, reference_id=b"\x1b[2J"), [r"\x1b[2J"]),
        (dict(reference_id=b"LOCL"), ["reference ID        76.79.67.76 or 'LOCL'"]),
        (dict(stratum=255), ["stratum             255 ("]),
        (dict(reference_id=bytes(4)), [r"reference ID        0.0.0.0 or '\x00\x00\x00\x00'"]),
        (dict(poll=-128), ["poll                -128: 2^-128 s = 2.94e-39 s"]),
        (dict(precision=127), ["precision           127: 2^127 s = 1.7e+38 s"]),
        (dict(root_delay=2**32 - 66), ["root delay          -66 * 2^-16 s = -0.001007 s"]),
        (dict(root_dispersion=2**32 - 1), ["4294967295 * 2^-16 s = 65535.999985 s"]),
        (dict(reference=0), ["reference timestamp 0:", " not set"]),
        (dict(receive=at("2030-01-02 03:04:05", 1 << 31)), ["2030-01-02 03:04:05.500000000 UTC"]),
        (dict(transmit=0), ["transmit timestamp  0:"]),
        (dict(transmit=1), ["4294967296.000000000 s since", "2036-02-07 06:28:16.000000000 U"]),
        (dict(transmit=2**64 - 1), ["4294967296.000000000 s", "2036-02-07 06:28:16.000000000 U"]),
        (dict(transmit=2**63), ["1968-01-20 03:14:08.000000000 UTC"]),
        (dict(transmit=2**63 - 1), ["2104-02-26 09:42:24.000000000 UTC"]),
    ],
    ids=str,
)  # fmt: skip
def test_every_value_is_named(reply, lines):
    text = ntp_client.dissect(reply_to(A_REQUEST, **reply))
    for line in lines:
        assert line in text
