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

from conftest import (
    ENVIRONMENT,
    SECOND,
    assert_one_error_line,
    changed,
    client,
    patched_client,
    resolves_to,
)
from fake_ntp_server import Request, honest, reply_to, timestamp


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
ticks = [0, 7_001_000]
time.perf_counter_ns = lambda: ticks[bool(sent)]
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
    "root delay / 2": 503_541,  # 66 / 2^17 s, rounded up
    "root dispersion": 1_998_902,  # 131 / 2^16 s
    "precision": 954,  # 2^-20 s
    "resolution": 1,
    "drift": 106,  # 15 parts in a million of 7.001 ms
    "disagreement": 0,
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
Server:         known.example (127.0.0.1 port PORT), stratum 3
Server's clock: {date(T4 + OFFSET)} UTC, when the reply arrived
This computer:  {date(T4)} UTC, at the same moment
Offset:         {decimal(OFFSET, "+")} s: this computer's clock is behind
Delay:          {decimal(DELAY)} s: the round trip, without the server's own time
Root distance:  {decimal(DISTANCE)} s: the most that the offset can be wrong by
"""
    )


@pytest.mark.parametrize(
    ("leap", "line"),
    [
        (1, "Leap second:    the last minute has 61 seconds"),
        (2, "Leap second:    the last minute has 59 seconds"),
    ],
)
def test_a_leap_second_that_the_server_announces_is_said(known, leap, line):
    assert known(leap=leap).splitlines()[-1] == line
    assert json.loads(known("--json", leap=leap).replace("PORT", "1"))["leap"] == leap


def test_json_has_the_same_figures_and_the_header(known):
    sample = {
        "lost": None,
        "t1": T1,
        "t2": T2,
        "t3": T3,
        "t4": T4,
        "offset": OFFSET / SECOND,
        "delay": DELAY / SECOND,
        "dispersion": round(sum(list(ERRORS.values())[3:]) / SECOND, 9),
        "root_distance": round(DISTANCE / SECOND, 9),
    }
    assert json.loads(known("--json").replace("PORT", "1")) == {
        "server": "known.example",
        "address": "127.0.0.1",
        "port": 1,
        "leap": 0,
        "version": 4,
        "stratum": 2,
        "precision": -20,
        "root_delay": round(66 / 2**16, 9),
        "root_dispersion": round(131 / 2**16, 9),
        "reference_id": "127.127.1.1",
        "reference_time": T2 - SECOND,
        **sample,
        "sample": 1,
        "samples": [sample],
    }


def test_json_has_null_for_a_reference_time_that_is_not_known(known):
    assert json.loads(known("--json", reference=0).replace("PORT", "1"))["reference_time"] is None


def test_v_draws_the_four_times_and_puts_the_numbers_into_the_formulas(known):
    (day1, t1), (day2, t2) = date(T1).split(), date(T2).split()
    t3, t4 = date(T3).split()[1], date(T4).split()[1]
    errors = "".join(f"{decimal(ns):>22} s  {name}\n" for name, ns in ERRORS.items())
    assert f"""\
                     T2 = {t2}     T3 = {t3}
server's clock  -----+---------------------------+------------------------->
{day2}          /                             \\
           request /                               \\ reply
                  /                                 \\
this computer  --+-----------------------------------+--------------------->
{day1}       T1 = {t1}             T4 = {t4}

offset = ((T2 - T1) + (T3 - T4)) / 2
       = (({decimal(T2 - T1, "+")}) + ({decimal(T3 - T4, "+")})) / 2 s
       = {decimal(OFFSET, "+")} s

delay  = (T4 - T1) - (T3 - T2)
       = {decimal(T4 - T1)} - {decimal(T3 - T2)} s
       = {decimal(DELAY)} s

root distance = what can make the offset wrong (the last four: the dispersion)
{errors}={decimal(DISTANCE):>21} s

Request, 48 bytes:
""" in known("-v")


def test_a_delay_that_the_clock_cannot_tell_is_one_step_of_it_and_v_says_so(known):
    text = known("-v", resolution="1e-2")
    assert "\nDelay:          0.010000000 s: " in text
    assert f"\n       = {decimal(T4 - T1)} - {decimal(T3 - T2)} s\n" in text
    assert "\n       = 0.010000000 s, one step of this clock\n" in text


# ---- What the offset says


def test_an_offset_below_the_root_distance_is_within_the_possible_error(ask):
    assert re.search(
        r"\nOffset: +[+-]0\.\d{9} s: within the possible error\n", ask(honest, "-t", 50).stdout
    )


@pytest.mark.parametrize(("offset", "words"), [(1, "behind"), (-1, "ahead")])
def test_beyond_the_root_distance_this_computers_clock_is_ahead_or_behind(ask, offset, words):
    result = ask(lambda request: honest(request, offset=offset * 3600 * SECOND))
    assert re.search(
        rf"Offset: +[+-](3600|3599)\.\d+ s: this computer's clock is {words}\n", result.stdout
    )


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
    for options in ([], ["-n", "2", "-i", "0"], ["--json"], ["-t", "0.001"]):
        result = patched_client(hostile, *options, "\x1b[2J\x7f", server.port)
        text = (result.stdout + result.stderr).replace("\n", "").replace("\\\\", "\\")
        assert r"::1%\x1b[2J\x9b" in text
        assert r"\x1b[2J\x7f" in text or "-t" in options
        assert text.isascii()
        assert text.isprintable()


@pytest.mark.parametrize(
    ("stratum", "reference_id", "shown"),
    [
        (1, b"GPS\0", "GPS"),
        (1, b"\x1b[2J", r"\x1b[2J"),
        (1, b"\xff\xfe\xfd\xfc", r"\xff\xfe\xfd\xfc"),
        (2, b"\x1b[2J", "27.91.50.74"),
        (2, bytes(4), "0.0.0.0"),
    ],
)
def test_the_reference_id_is_shown_safely(ask, stratum, reference_id, shown):
    result = ask(changed(stratum=stratum, reference_id=reference_id), "--json")
    assert json.loads(result.stdout)["reference_id"] == shown


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
# eeaee66e is 4004439662, 80343b57 / 2^32 is 0.500796994; 3c06a663 has its first bit clear: era 1;
# and so on.
BY_HAND = """\
Reply, 48 bytes:
 0  240300e6  leap indicator      00...... = 0: no warning
              version             ..100... = 4
              mode                .....100 = 4: server
              stratum             3: secondary server
              poll                0: 2^0 s = 1 s
              precision           -26: 2^-26 s = 1.49e-08 s
 4  00000001  root delay          1 * 2^-16 s = 0.000015 s
 8  00000001  root dispersion     1 * 2^-16 s = 0.000015 s
12  7f000001  reference ID        127.0.0.1: its source
16  eeaee66e  reference timestamp 4004439662.500796994 s since the prime epoch:
20  80343b57                      2026-11-23 16:21:02.500796994 UTC
24  3c06a663  originate timestamp 5302036067.259223442 s since the prime epoch:
28  425c77ac                      2068-01-06 03:47:47.259223442 UTC
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
    ],
    ids=["bytes", "xxd -g 4", "xxd", "xxd with other line ends"],
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


@pytest.mark.parametrize(
    "text",
    [
        "$ netcat -u pool.ntp.org 123 | xxd -g 4\n" + AS_XXD_SHOWS_IT,
        "hello\n",
        "00000000: 24x30\n",
        "0000\n",
    ],
    ids=["a command", "a word", "no hex", "no colon"],
)
def test_decode_of_text_that_is_no_dump_names_the_line(decode, text):
    result = decode(text.encode())
    assert_one_error_line(result, 1, f"this line is not from xxd: '{text.splitlines()[0]}'")
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 bytes, and a header has 48"),
        (bytes(47), "47 bytes, and a header has 48"),
        (bytes(65_508), "65508 bytes"),
    ],
    ids=["nothing", "47 bytes", "65508 bytes"],
)
def test_decode_of_what_is_no_packet_is_one_clear_line(decode, content, words):
    result = decode(content)
    assert_one_error_line(result, 1, "saved.bin' holds no NTP packet", words)
    assert result.stdout == ""


def test_decode_takes_a_packet_for_one_even_if_no_byte_of_it_is_zero(decode):
    assert decode(b"\x24" + b"\xff" * 47).stdout.startswith("Reply, 48 bytes:\n")


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (
            b"\x16\x02" + bytes(10),
            "Packet in mode 6 (NTP control message), 12 bytes: another format (RFC 9327)\n",
        ),
        (
            b"\x17\x00\x03\x2a" + bytes(4),
            "Packet in mode 7 (reserved for private use), 8 bytes: another format (RFC 9327)\n",
        ),
    ],
    ids=["mode 6", "mode 7"],
)
def test_decode_names_a_packet_of_another_format_and_does_not_take_it_apart(decode, packet, words):
    result = decode(packet)
    assert (result.returncode, result.stdout, result.stderr) == (0, words, "")


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
    assert len(dates) == 4
    for name, ours in zip(names[9:], dates):
        when, ns = re.fullmatch(r"(.*)\.(\d{9}) UTC", seen[name]).groups()
        theirs = calendar.timegm(time.strptime(when, "%b %d, %Y %H:%M:%S")) * SECOND + int(ns)
        there = calendar.timegm(time.strptime(ours[:19], "%Y-%m-%d %H:%M:%S")) * SECOND + int(
            ours[20:]
        )
        assert abs(theirs - there) <= 1, name  # tshark rounds down


def test_v_shows_both_packets_as_decode_does_but_for_the_random_bits(ask, decode):
    sent = []

    def remember(request):
        sent[:] = [request.data, reply_to(request, stratum=1, reference_id=b"GPS\0") + bytes(20)]
        return sent[1:]

    result = ask(remember, "-v", "-t", 50)
    assert (result.returncode, result.stderr) == (0, "")
    *_, request, reply = result.stdout.split("\n\n")
    for text, packet, begins, at in (
        (request, sent[0], "Request, 48 bytes:", 40),
        (reply, sent[1], "Reply, 68 bytes:", 24),
    ):
        ours, theirs = text.strip().splitlines(), decode(packet).stdout.splitlines()
        assert ours[0] == begins
        differ = [line for line, other in zip(ours, theirs) if line != other]
        word1, word2 = packet[at : at + 4].hex(), packet[at + 4 : at + 8].hex()
        name = "transmit timestamp " if at == 40 else "originate timestamp"
        assert differ == [
            f"{at}  {word1}  {name} 64 random bits, and no time,",
            f"{at + 4}  {word2}                      which the reply repeats",
        ]
        assert len(ours) == len(theirs)
    assert "reference ID        GPS: its reference clock" in reply
    assert "48  and 20 bytes more: extension fields or a MAC" in reply
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_v_with_n_shows_the_chosen_sample(fake_server):
    server = fake_server()
    text = client("-v", "-n", 3, "-i", 0, server.host, server.port).stdout
    assert text.count("Request, 48 bytes:") == 1
    offset, distance = re.search(r"Offset: +(\S+) s[^$]*Root distance: +(\S+) s", text).groups()
    assert f"\n       = {offset} s\n" in text
    assert re.search(rf"\n= +{re.escape(distance)} s\n", text)
    number = int(re.search(r"Sample: +number (\d) of 3", text)[1])
    assert f"sample {number}: offset {offset} s" in text


LEAPS = ["no warning", "the last minute has 61 seconds", "the last minute has 59 seconds"]
LEAPS += ["unknown (clock unsynchronized)"]
MODES = ["reserved", "symmetric active", "symmetric passive", "client", "server", "broadcast"]


@pytest.mark.parametrize(
    ("reply", "lines"),
    [
        *((dict(leap=n), [f" {n:02b}...... = {n}: {LEAPS[n]}"]) for n in range(4)),
        *((dict(mode=n), [f" .....{n:03b} = {n}: {MODES[n]}"]) for n in range(6)),
        (dict(mode=5), ["Packet, neither request nor reply, 48 bytes:"]),
        (dict(version=3), ["version             ..011... = 3"]),
        (dict(stratum=0, reference_id=b"RATE"), ["RATE: asked too often", "0: unspecified"]),
        (dict(stratum=0, reference_id=b"RSTR"), ["RSTR", "access denied by policy"]),
        (dict(stratum=0, reference_id=b"XABC"), ["reference ID        XABC: "]),
        (dict(stratum=0, reference_id=b"\x1b[2J"), [r"\x1b[2J"]),
        (dict(stratum=1, reference_id=b"PPS\0"), ["1: primary server", "PPS: its reference clock"]),
        (dict(stratum=2, reference_id=b"LOCL"), ["76.79.67.76", "LOCL"]),
        (dict(stratum=15), ["15: secondary server"]),
        (dict(stratum=16), ["16: unsynchronized"]),
        (dict(stratum=17), ["17: reserved"]),
        (dict(stratum=255), ["255: reserved"]),
        (dict(reference_id=bytes(4)), ["reference ID        0: not set"]),
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
    result = decode(reply_to(Request(bytes(48), None, time.time_ns()), **reply))
    assert (result.returncode, result.stderr) == (0, "")
    for line in lines:
        assert line in result.stdout


OLD_COMPUTER = """
def strict(real):
    def on_32_bits(seconds=None):
        if seconds is not None and not -2**31 <= seconds < 2**31:
            raise OverflowError("timestamp out of range for platform time_t")
        return real(seconds)
    return on_32_bits
time.gmtime, time.localtime = strict(time.gmtime), strict(time.localtime)
"""


@pytest.mark.parametrize("stamp", [2**63, 2**63 - 1, 1, 2**64 - 1])
def test_dates_work_on_computers_with_32_bits_too(tmp_path, stamp):
    packet = reply_to(Request(bytes(48), None, time.time_ns()), transmit=stamp)
    (tmp_path / "saved.bin").write_bytes(packet)
    result = patched_client(OLD_COMPUTER, "--decode", tmp_path / "saved.bin")
    assert (result.returncode, result.stderr) == (0, "")
