"""Part 5: what is printed. The report, JSON, -v and --decode, against figures that the tests
work out.
"""

import calendar
import json
import re
import shutil
import socket
import subprocess
import time
from decimal import Decimal

import pytest

from fake_ntp_server import Request, honest, reply_to, timestamp
from helpers import (
    ENVIRONMENT,
    SECOND,
    assert_one_error_line,
    client,
    patched_client,
    resolves_to,
)


def date(unix_ns):
    """Return a Unix time in ns as the client shows it, without the word UTC."""
    whole, ns = divmod(unix_ns, SECOND)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(whole))}.{ns:09d}"


def decimal(ns, sign=""):
    """Return ns in seconds, as text with nine decimals."""
    return f"{Decimal(ns).scaleb(-9):{sign}.9f}"


# ---- One exchange of which all four times are known

# This computer's clock shows T1 when the request leaves, and T4 is what the kernel notes: both
# are fixed here, so that each figure can be worked out.
T1 = 1_795_000_000_123_456_789
T4 = T1 + 7_000_000
KNOWN_CLOCKS = f"""
import struct
time.time_ns = lambda: {T1} if not sent else {T4} + 1000
time.get_clock_info = lambda name: type("Info", (), dict(resolution=1e-9))
sent = []
real_send, real_receive = socket.socket.send, socket.socket.recvmsg
def send(self, *args, **kw):
    result = real_send(self, *args, **kw)
    sent.append(result)
    return result
def recvmsg(self, *args, **kw):
    packet, notes, flags, address = real_receive(self, *args, **kw)
    note = struct.pack("@ll", {T4} // 10**9, {T4} % 10**9)
    return packet, [(level, kind, note) for level, kind, _ in notes], flags, address
socket.socket.send, socket.socket.recvmsg = send, recvmsg
sys.platform = "linux"
"""
T2 = T1 + 25 * 3600 * SECOND + 2_000_000  # the next day
T3 = T2 + 1_000_000
OFFSET = ((T2 - T1) + (T3 - T4)) // 2
DELAY = (T4 - T1) - (T3 - T2)
ERRORS = {  # in ns, in the order of -v
    "delay / 2": DELAY // 2,
    # a step of the server's clock, 2^-20 s; one of this clock; and a thousandth of T4 - T1
    "dispersion": 954 + 1 + 7_000,
    "root delay / 2": 503_541,  # 66 / 2^17 s, rounded up
    "root dispersion": 1_998_902,  # 131 / 2^16 s
}
DISTANCE = sum(ERRORS.values())


@pytest.fixture
def known(fake_server):
    """Return a function that runs the client with these options; all four times are those above."""

    def known(*options, resolution="1e-9", **changes):
        fields = {
            "receive": timestamp(T2),
            "transmit": timestamp(T3),
            "reference": timestamp(T2 - SECOND),
        }
        server = fake_server(lambda request: [reply_to(request, **{**fields, **changes})])
        clocks = KNOWN_CLOCKS.replace("1e-9", resolution)
        result = patched_client(
            resolves_to("127.0.0.1") + clocks, *options, "known.example", server.port
        )
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout.replace(str(server.port), "PORT")

    return known


def test_the_report_shows_the_server_both_clocks_and_how_far_apart_they_are(known):
    assert (
        known(stratum=3)
        == f"""\
Server:         known.example
Address:        127.0.0.1 port PORT, stratum 3
Server's clock: {date(T4 + OFFSET)} UTC, when the reply arrived
This computer:  {date(T4)} UTC, at the same moment
Offset:         {decimal(OFFSET, "+")} s: this clock is behind the server's
Delay:          {decimal(DELAY)} s: the round trip, without the server's own time
Root distance:  {decimal(DISTANCE)} s: the largest error if the server tells the truth
"""
    )


@pytest.mark.parametrize(
    ("leap", "line"),
    [
        (1, "Leap second:    the month's last minute has 61 s"),
        (2, "Leap second:    the month's last minute has 59 s"),
    ],
)
def test_a_leap_second_that_the_server_announces_is_said(known, leap, line):
    assert known(leap=leap).splitlines()[-1] == line
    assert json.loads(known("--json", leap=leap).replace("PORT", "1"))["leap"] == leap


def test_json_has_the_same_figures_and_the_header(known):
    assert json.loads(known("--json").replace("PORT", "1")) == {
        "sample": None,
        "samples": 1,
        "lost": 0,
        "server": "known.example",
        "address": "127.0.0.1",
        "port": 1,
        "stratum": 2,
        "leap": 0,
        "t1": decimal(T1),
        "t2": decimal(T2),
        "t3": decimal(T3),
        "t4": decimal(T4),
        "offset": OFFSET / SECOND,
        "delay": DELAY / SECOND,
        "dispersion": ERRORS["dispersion"] / SECOND,
        "root_distance": round(DISTANCE / SECOND, 9),
    }


def test_v_draws_the_four_times_and_puts_the_numbers_into_the_formulas(known):
    t1, t2, t3, t4 = (date(unix_ns).split()[1] for unix_ns in (T1, T2, T3, T4))
    assert f"""\
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

root distance = delay / 2 + dispersion + root delay / 2 + root dispersion
  = {" + ".join(map(decimal, ERRORS.values()))} s
  = {decimal(DISTANCE)} s

Request, 48 bytes:
""" in known("-v")
    assert "sample" not in known("-v")


def test_a_step_of_this_computers_clock_is_in_the_dispersion(known):
    text = known("-v", resolution="1e-2")
    dispersion = ERRORS["dispersion"] + 10_000_000 - 1
    assert f" + {decimal(dispersion)} + " in text
    assert f"\nRoot distance:  {decimal(DISTANCE + 10_000_000 - 1)} s: " in text


def test_a_delay_that_large_steps_make_negative_is_0_in_the_report_and_explained_by_v(known):
    text = known("-v", resolution="1e-2", transmit=timestamp(T3 + 8_000_000))
    delay = DELAY - 8_000_000
    assert delay < 0
    assert "\nDelay:          0.000000000 s: " in text
    assert f"\n       = {decimal(delay)} s (clocks count in steps: the report says 0)\n" in text


# ---- What the offset says


def test_an_offset_below_the_root_distance_is_within_the_possible_error(ask):
    assert re.search(
        r"\nOffset: +[+-]0\.\d{9} s: within the possible error\n", ask(honest, "-t", 50).stdout
    )


@pytest.mark.parametrize(("offset", "words"), [(1, "behind"), (-1, "ahead of")])
def test_beyond_the_root_distance_this_clock_is_ahead_of_the_servers_or_behind(ask, offset, words):
    result = ask(lambda request: honest(request, offset=offset * 3600 * SECOND))
    assert re.search(
        rf"Offset: +[+-](3600|3599)\.\d+ s: this clock is {words} the server's\n", result.stdout
    )


def test_the_report_fits_80_columns_whatever_the_name_and_the_offset(fake_server):
    server = fake_server(lambda request: honest(request, offset=60 * 365 * 86400 * SECOND))
    name = ".".join(["label" * 12] * 4)
    for options in ([], ["-n", "2", "-i", "0"], ["-v"]):
        result = patched_client(resolves_to("127.0.0.1"), *options, name, server.port)
        assert result.returncode == 0
        assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_a_name_and_an_address_that_a_terminal_would_obey_are_escaped(fake_server):
    server = fake_server()
    hostile = (
        resolves_to("127.0.0.1")
        + r"""
real = socket.socket.connect
socket.socket.connect = lambda self, address: real(self, ("127.0.0.1", address[1]))
plain = socket.getaddrinfo
hostile = "::1%\x1b[2J\x9b"
socket.getaddrinfo = lambda *args: [(*e[:4], (hostile, e[4][1])) for e in plain(*args)]
"""
    )
    for options in ([], ["-n", "2", "-i", "0"], ["-v"], ["--json"], ["-t", "0.001"]):
        result = patched_client(hostile, *options, "\x1b]2;\x7f", server.port)
        text = (result.stdout + result.stderr).replace("\n", "").replace("\\\\", "\\")
        assert "--json" in options or r"\x1b]2;\x7f" in text
        # In 1 ms there is a reply or not; silence is told of the name.
        assert "--json" in options or "-t" in options or r"::1%\x1b[2J\x9b" in text
        assert text.isascii()
        assert text.isprintable()


# ---- The protocol, shown

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
24  3c06a663  originate timestamp the transmit timestamp of the packet
28  425c77ac                      that this one answers (0: none)
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
AS_XXD_SHOWS_IT_IN_PAIRS = """\
00000000: 2403 00e6 0000 0001 0000 0001 7f00 0001  $...............
00000010: eeae e66e 8034 3b57 3c06 a663 425c 77ac  ...n.4;W<..cB\\w.
00000020: eeae e66e f1c5 c17b eeae e66e f1cd c470  ...n...{...n...p
"""


@pytest.fixture
def decode(tmp_path):
    """Return a function that runs --decode on a file that holds these bytes."""

    def decode(content):
        (tmp_path / "saved.bin").write_bytes(content)
        return client("--decode", tmp_path / "saved.bin")

    return decode


@pytest.mark.parametrize(
    "content",
    [
        CAPTURED,
        AS_XXD_SHOWS_IT.encode(),
        AS_XXD_SHOWS_IT_IN_PAIRS.encode(),
        AS_XXD_SHOWS_IT.replace("\n", "\r\n\r\n").encode(),
        f"$ netcat -w 1 -u pool.ntp.org 123 < packet.binary | xxd\n{AS_XXD_SHOWS_IT}$ ".encode(),
        f"\N{BLACK RIGHT-POINTING TRIANGLE} xxd reply.bin\n{AS_XXD_SHOWS_IT}".encode(),
        re.sub("^0", "    ", AS_XXD_SHOWS_IT, flags=re.MULTILINE).encode(),
        "".join(line[:45] + "\n" for line in AS_XXD_SHOWS_IT.splitlines()).encode(),
    ],
    ids=[
        "bytes",
        "xxd -g 4",
        "xxd",
        "xxd with other line ends",
        "a prompt and a command",
        "a prompt that is not ASCII",
        "an old xxd, indented",
        "without the column of characters",
    ],
)
def test_decode_shows_a_captured_reply_as_it_was_worked_out_by_hand(decode, content):
    result = decode(content)
    assert (result.returncode, result.stdout, result.stderr) == (0, BY_HAND, "")


def test_decode_takes_the_text_of_a_packet_whose_last_line_is_not_full(decode):
    longer = AS_XXD_SHOWS_IT + "00000030: 0001                                 ..\n"
    assert decode(longer.encode()).stdout == BY_HAND.replace("48 bytes", "50 bytes") + (
        "48  and 2 bytes more: extension fields or a MAC\n"
    )


def test_decode_reads_stdin_too():
    assert client("--decode", "-", input=AS_XXD_SHOWS_IT).stdout == BY_HAND


A_REQUEST = Request(b"\x23" + bytes(47), None, time.time_ns())
LINES = AS_XXD_SHOWS_IT.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (LINES[1:], 1),
        (LINES[:1] + LINES[2:], 2),
        ([LINES[0], LINES[2], LINES[1]], 2),
        (LINES + LINES, 0),
        (LINES + ["$ netcat again\n"] + LINES, 0),
    ],
    ids=["no first line", "no second line", "two swapped", "two dumps", "two commands"],
)
def test_decode_of_lines_that_do_not_follow_each_other_names_the_first(decode, lines, named):
    result = decode("".join(lines).encode())
    assert_one_error_line(
        result, 1, "is a line missing, or two dumps in one file?", LINES[named][:9]
    )
    assert result.stdout == ""


@pytest.mark.parametrize(
    "text",
    ["00000000: 24x30\n", "00000000: 24030  \n", LINES[0] + "00000010: hello\n"],
    ids=["no hex", "an odd number of digits", "a second line that is none"],
)
def test_decode_of_a_line_that_is_damaged_names_it(decode, text):
    result = decode(text.encode())
    assert_one_error_line(result, 1, f"this line is damaged: '{text.splitlines()[-1]}'")


def test_decode_of_nothing_says_that_no_reply_came(decode):
    for content in (
        b"",
        b"\n",
        b"hello\n",
        b"$ netcat -w 1 -u pool.ntp.org 123 | xxd\n$ " + b"# " * 30,
    ):
        assert_one_error_line(decode(content), 1, "saved.bin' is empty, or", "no reply came")
    assert_one_error_line(client("--decode", "-", input=""), 1, "'-' is empty", "no reply came")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x24" + bytes(46), "47 bytes that begin with 0x24\n"),
        (b"\x24" + bytes(1_500), "1501 bytes that begin with 0x24\n"),
        (CAPTURED * 2, "holds more than one packet: 96 bytes"),
        (b"\x23" + bytes(47) + CAPTURED, "holds more than one packet: 96 bytes"),
        (AS_XXD_SHOWS_IT.encode("utf-16"), "bytes that begin with 0xff\n"),
        (b"\xff\xd8\xff\xe0" + bytes(60), "bytes that begin with 0xff\n"),
        (b"\x26\x02" + bytes(50), "52 bytes that begin with 0x26\n"),
        (b"\x20" + bytes(47), "48 bytes that begin with 0x20\n"),
        (b"\x27" + bytes(47), "48 bytes that begin with 0x27\n"),
        (b"\x2c" + bytes(47), "48 bytes that begin with 0x2c\n"),
        (b"\x04" + bytes(47), "48 bytes that begin with 0x04\n"),
    ],
    ids=[
        "47 bytes",
        "1501 bytes",
        "two replies",
        "a request and its reply",
        "UTF-16",
        "a JPEG",
        "a control message",
        "mode 0",
        "mode 7",
        "version 5",
        "version 0",
    ],
)
def test_decode_of_what_tells_no_time_is_one_clear_line(decode, content, words):
    result = decode(content)
    assert_one_error_line(result, 1, "saved.bin' ", words)
    assert result.stdout == ""


def test_decode_takes_a_packet_for_one_even_if_no_byte_of_it_is_zero(decode):
    assert decode(b"\x24" + b"\xff" * 47).stdout.startswith("Reply, 48 bytes:\n")


def test_decode_agrees_with_tshark(decode, tmp_path):
    for program in ("text2pcap", "tshark"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed (Debian package tshark)")
    capture = tmp_path / "c.pcap"
    dump = "0000 " + " ".join(f"{byte:02x}" for byte in CAPTURED)
    command = ["text2pcap", "-q", "-u", "123,123", "-", capture]
    subprocess.run(command, input=dump, encoding="utf-8", check=True)
    names = ["flags.li", "flags.vn", "flags.mode", "stratum", "ppoll", "precision"]
    names += ["rootdelay", "rootdispersion", "refid", "reftime", "org", "rec", "xmt"]
    fields = [option for name in names for option in ("-e", f"ntp.{name}")]
    command = ["tshark", "-r", capture, "-T", "fields", "-E", "separator=|", *fields]
    told = subprocess.run(
        command, capture_output=True, encoding="utf-8", check=True, env=ENVIRONMENT
    )
    seen = dict(zip(names, told.stdout.strip().split("|")))
    text = decode(CAPTURED).stdout
    shown = dict(re.findall(r"^.{14}(\w[\w ]*\w) +(?:[01.]{8} = )?(-?\d+)\b", text, re.MULTILINE))
    for name, ours in zip(names[:8], [*shown]):  # both in the order of the header
        assert int(seen[name], 0) % 256 == int(shown[ours]) % 256, (
            name
        )  # tshark's precision has lost its sign
    assert len(shown) >= 8
    assert socket.inet_ntoa(bytes.fromhex(seen["refid"].replace(":", ""))) in text
    dates = re.findall(r" (\d{4}-.*) UTC", text)
    assert len(dates) == 3
    for name, ours in zip((names[9], *names[11:]), dates):
        when, ns = re.fullmatch(r"(.*)\.(\d{9}) UTC", seen[name]).groups()
        theirs = calendar.timegm(time.strptime(when, "%b %d, %Y %H:%M:%S")) * SECOND + int(ns)
        there = calendar.timegm(time.strptime(ours[:19], "%Y-%m-%d %H:%M:%S")) * SECOND + int(
            ours[20:]
        )
        assert abs(theirs - there) <= 1, name  # tshark rounds down


def test_v_shows_both_packets_as_decode_does(ask, decode):
    sent = []

    def remember(request):
        sent[:] = [request.data, reply_to(request, stratum=1, reference_id=b"GPS\0") + bytes(20)]
        return sent[1:]

    result = ask(remember, "-v", "-t", 50)
    assert (result.returncode, result.stderr) == (0, "")
    request, reply = map(decode, sent)
    assert result.stdout.endswith(f" s\n\n{request.stdout}\n{reply.stdout}")
    assert request.stdout.startswith("Request, 48 bytes:\n")
    word1, word2 = sent[0][40:44].hex(), sent[0][44:].hex()
    assert request.stdout.endswith(f"""\
40  {word1}  transmit timestamp  a time or random bits,
44  {word2}                      which the reply sends back
""")
    assert r"reference ID        71.80.83.0 or 'GPS\x00'" in reply.stdout
    assert reply.stdout.endswith("48  and 20 bytes more: extension fields or a MAC\n")
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    "changes",
    [{"leap": 3}, {"stratum": 0, "reference_id": b"RATE"}, {"version": 7}, {"transmit": 0}],
    ids=str,
)
def test_v_shows_the_packets_of_a_reply_that_is_refused(ask, decode, changes):
    sent = []

    def refused(request):
        sent[:] = [reply_to(request, **changes)]
        return sent

    result = ask(refused, "-v")
    assert_one_error_line(result, 1)
    request, reply = result.stdout.strip().split("\n\n")
    assert request.startswith("Request, 48 bytes:\n")
    assert reply.startswith("Reply, 48 bytes:\n")
    assert f"\n 0  {sent[0][:4].hex()}  leap indicator " in reply
    assert ask(refused).stdout == ""  # only if asked to


LEAPS = ["no warning", "last minute has 61 s", "last minute has 59 s", "clock not synchronized"]


@pytest.mark.parametrize(
    ("reply", "lines"),
    [
        *((dict(leap=n), [f" {n:02b}...... = {n}: {LEAPS[n]}"]) for n in range(4)),
        *((dict(mode=n), [f" .....{n:03b} = {n} (3: request, 4: reply)"]) for n in range(1, 6)),
        (dict(mode=5), ["Packet, 48 bytes:"]),
        (dict(mode=3), ["Request, 48 bytes:"]),
        (dict(version=1), ["version             ..001... = 1"]),
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
        (dict(transmit=0), ["transmit timestamp  0:"]),
        (dict(transmit=1), ["4294967296.000000000 s since", "2036-02-07 06:28:16.000000000 U"]),
        (dict(transmit=2**64 - 1), ["4294967296.000000000 s", "2036-02-07 06:28:16.000000000 U"]),
        (dict(transmit=2**63), ["1968-01-20 03:14:08.000000000 UTC"]),
        (dict(transmit=2**63 - 1), ["2104-02-26 09:42:24.000000000 UTC"]),
    ],
    ids=str,
)  # fmt: skip
def test_decode_names_every_value(decode, reply, lines):
    result = decode(reply_to(A_REQUEST, **reply))
    assert (result.returncode, result.stderr) == (0, "")
    for line in lines:
        assert line in result.stdout
