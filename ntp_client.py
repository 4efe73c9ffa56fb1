#!/usr/bin/env python3
"""Part 5: tell how far this computer's clock is from an NTP server's. It never sets the clock.

    ntp_client.py [-h] [-4 | -6] [-n N] [-i SECONDS] [-t SECONDS] [-v | --json | --decode FILE]
                  [server [port]]

One packet goes to the server and one comes back. Four times are taken, two on each clock:

    T1  the request leaves this computer         T2  the request reaches the server
    T4  the reply reaches this computer          T3  the reply leaves the server

If both ways take equally long, the server's clock is ahead of this one by

    offset = ((T2 - T1) + (T3 - T4)) / 2         (negative: behind)

and the way there and back, without the time that the server took over it, takes

    delay = (T4 - T1) - (T3 - T2)

If they do not, the offset is wrong by half the delay at most. The root distance adds to that
what the server says of its own error, and what the clocks cannot resolve: it is the most that
the offset can be wrong by, if the server tells the truth. Nothing here proves that it does:
NTP without authentication cannot.

Results go to stdout, all else to stderr. Exit status: 0 it worked, 1 it could not be done,
2 the command line was wrong, 130 Ctrl-C. The protocol is in RFC 5905 (NTP version 4) and,
for clients as simple as this one, in RFC 4330 (SNTP).
"""

import argparse
import collections
import itertools
import os
import socket
import struct
import sys
import time

# ---------------------------------------------------------------- constants

SECOND = 10**9  # all times in this file are integers that count ns
UNIX_EPOCH = 2_208_988_800 * SECOND  # from the prime epoch, 1900-01-01, to 1970-01-01: 70 years, 17 of them leap years

VERSION = 4  # what this client speaks, and the newest that there is
CLIENT, SERVER = 3, 4  # two of the modes of RFC 5905, section 7.3, figure 10
UNSYNCHRONIZED = 3  # a leap indicator: figure 9
MAX_STRATUM = 16  # MAXSTRAT in RFC 5905, section 7.2: not synchronized; servers have 1 to 15
MAX_DISTANCE = 16 * SECOND  # MAXDISP there: so far from the root is nowhere
MAX_PACKET = 65_507  # bytes in a UDP packet
MAX_STEP = SECOND // 1000  # if our two clocks disagree by more than this about how long it took, one was set

# Linux notes when each packet arrived, if asked to. Not every Python's socket module has the option's
# number; 35 is SO_TIMESTAMPNS in Linux's include/uapi/asm-generic/socket.h, and the reply's type as well.
SO_TIMESTAMPNS = getattr(socket, "SO_TIMESTAMPNS", 35) if sys.platform == "linux" else None
TIMESPEC = struct.Struct("@ll")  # what it gives: seconds and ns of Unix time, in this machine's own longs

KISS_CODES = {  # RFC 5905, section 7.4, figure 13
    "ACST": "the association belongs to a unicast server",
    "AUTH": "server authentication failed",
    "AUTO": "Autokey sequence failed",
    "BCST": "the association belongs to a broadcast server",
    "CRYP": "cryptographic identification failed",
    "DENY": "access denied by the server",
    "DROP": "lost peer in symmetric mode",
    "RSTR": "access denied by local policy",
    "INIT": "not yet synchronized for the first time",
    "MCST": "the association is with a discovered server",
    "NKEY": "no key found, or it is not trusted",
    "RATE": "asked too often; wait before you ask again",
    "RMOT": "somebody alters the association from afar",
    "STEP": "its time was stepped; not yet resynchronized",
}
LEAPS = (  # figure 9
    "no warning",
    "the last minute has 61 seconds",
    "the last minute has 59 seconds",
    "unknown (clock unsynchronized)",
)
MODES = (  # figure 10
    "reserved",
    "symmetric active",
    "symmetric passive",
    "client",
    "server",
    "broadcast",
    "NTP control message",
    "reserved for private use",
)

# ---------------------------------------------------------------- the time format


def in_era_1(timestamp):
    """Return whether a 64-bit NTP timestamp is of 2036-02-07 or later: its first bit is clear (RFC 4330, section 3)."""
    return timestamp < 1 << 63


def to_unix_ns(timestamp):
    """Return a 64-bit NTP timestamp as Unix time in ns, rounded to the nearest: 1968-01-20 to 2104-02-26.

    A timestamp has 32 bits of seconds since the prime epoch and 32 of fraction. The seconds wrap on
    2036-02-07. Which era it is the timestamp tells by itself: this computer's clock may be wrong.
    """
    if in_era_1(timestamp):
        timestamp += 1 << 64
    return ((timestamp * SECOND + (1 << 31)) >> 32) - UNIX_EPOCH


def short_to_ns(value):
    """Return a time in NTP short format (16 bits of seconds, 16 of fraction; RFC 5905, section 6) in ns, rounded up."""
    return -(-value * SECOND >> 16)


def power_to_ns(exponent):
    """Return 2**exponent s in ns, rounded up (the form of poll and precision; RFC 5905, section 7.3)."""
    return SECOND << exponent if exponent >= 0 else -(-SECOND >> -exponent)


def seconds(ns, sign=""):
    """Return ns as seconds with nine decimals; sign "+" shows it on positive ones too."""
    return f"{'-' if ns < 0 else sign}{abs(ns) // SECOND}.{abs(ns) % SECOND:09d}"


def utc(unix_ns):
    """Return a Unix time in ns as the date and the time of day, in UTC."""
    whole, ns = divmod(unix_ns, SECOND)
    # The calendar repeats every 400 years. So no time is before 1970 here: not every system's gmtime() can do those.
    cycles, rest = divmod(whole, 146_097 * 86_400)
    moment = time.gmtime(rest)
    return f"{moment.tm_year + 400 * cycles}-{time.strftime('%m-%d %H:%M:%S', moment)}.{ns:09d} UTC"


# ---------------------------------------------------------------- the packet

# RFC 5905, section 7.3, figure 8: twelve words of 32 bits, big-endian. What may follow is not ours to read.
#
#     |LI| VN |Mode|   Stratum    |     Poll     |  Precision   |      B B b b
#     |                        Root Delay                       |      I
#     |                     Root Dispersion                     |      I
#     |                       Reference ID                      |      4s
#     |              Reference Timestamp (two words)            |      Q
#     |              Originate Timestamp (two words)            |      Q
#     |               Receive Timestamp (two words)             |      Q
#     |               Transmit Timestamp (two words)            |      Q
HEADER = struct.Struct(">BBbbII4sQQQQ")

Header = collections.namedtuple(
    "Header",
    "leap version mode stratum poll precision root_delay root_dispersion reference_id"
    " reference originate receive transmit",
)


def new_request():
    """Return a request, 48 bytes: the version, the mode, and 64 random bits as its transmit timestamp.

    The server sends the random bits back as the originate timestamp, so that nobody who cannot read the request
    can answer it; and a request that holds nothing else tells nothing of this computer (RFC 8633, section 5.1).
    """
    random_bits = int.from_bytes(os.urandom(8), "big") or 1  # 0 would say that there is no timestamp
    return HEADER.pack(VERSION << 3 | CLIENT, 0, 0, 0, 0, 0, b"", 0, 0, 0, random_bits)


def unpack(packet):
    """Return the Header in the first 48 bytes of packet, its fields as they are on the wire."""
    first_byte, *rest = HEADER.unpack_from(packet)
    return Header(first_byte >> 6, first_byte >> 3 & 0b111, first_byte & 0b111, *rest)


def printable(text):
    """Return text with all but printable ASCII escaped: terminals obey control characters."""
    return "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text)


def quoted(text):
    """Return text in quotes for an error message: escaped, and without its middle if it is very long."""
    shown = ascii(text)
    return shown if len(shown) <= 200 else f"{shown[:100]}...{shown[-90:]}"


def reference_id(header):
    """Return the reference ID as what it is at that stratum: up to four letters, or an address."""
    if header.stratum < 2:
        return printable(header.reference_id.rstrip(b"\0").decode("latin-1"))
    return ".".join(str(byte) for byte in header.reference_id)


def kiss_words(code):
    """Return what a kiss code means."""
    return KISS_CODES.get(code, "a code that RFC 5905 does not explain")


# ---------------------------------------------------------------- the exchange


class NoTime(Exception):
    """This server gave no time; str() says why."""


class KissOfDeath(NoTime):
    """This server told us to stop asking (RFC 5905, section 7.4)."""


Sample = collections.namedtuple("Sample", "request reply header t1 t2 t3 t4 offset delay dispersion root_distance")
Sample.__doc__ = """One exchange: both packets as bytes, the reply's Header, and ns (T1 to T4 are Unix times).

offset: the server's clock minus this one, so positive when this one is behind.
delay: the time spent on the way there and back.
dispersion: the error in reading the two clocks, and their drift meanwhile.
root_distance: the most that offset can be wrong by.
"""


def exchange(family, address, timeout):
    """Ask the server at this socket address once, wait timeout s at most, and return the Sample.

    Raises NoTime when there is no answer or it cannot be used, and KissOfDeath when it says to stop.
    """
    request = new_request()
    warm_up(family)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            prepare(sock)
            sock.connect(address)  # from now on the kernel drops what anybody else sends
            sock.setblocking(False)
            difference = clock_difference()
            started = time.monotonic_ns()
            t1 = time.time_ns()
            sock.send(request)
            reply, t4 = wait_for_reply(sock, request, started, t1, timeout)
            step = abs(clock_difference() - difference)
    except (ConnectionRefusedError, ConnectionResetError):
        raise NoTime("nothing is listening on this UDP port: is this an NTP server?") from None
    except OSError as error:
        raise NoTime(f"cannot reach it: {error.strerror or error}") from None

    if step > MAX_STEP:
        raise NoTime("this computer's clock was set while the reply was on its way; try again")
    sample = measure(request, reply, t1, t4, step)
    why = refusal(sample)
    if sample.header.stratum == 0:
        raise KissOfDeath(f"{why}; it is not asked again")
    if why:
        raise NoTime(f"{why}; ask another server")
    return sample


def warm_up(family):
    """Send one packet from this computer to itself.

    Code that has not run lately, Python's and the kernel's, takes some 10 us longer to send a packet. Without this
    the way there would seem longer than the way back.
    """
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
            sock.connect(sock.getsockname())
            sock.setblocking(False)
            sock.send(bytes(HEADER.size))
            receive(sock, time.time_ns())
    except OSError:
        pass  # no loopback: no harm


def prepare(sock):
    """Ask the kernel for room on sock, for the reply among forgeries, and to note when packets arrive, where it can."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if SO_TIMESTAMPNS:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        pass  # then it is the usual room, and receive() reads the clock itself


def clock_difference():
    """Return by how many ns the clock that can be set is ahead of the one that nobody can set."""
    readings = []
    for _ in range(3):  # the quickest counts: this process may be interrupted between two readings
        before, now, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        readings.append((after - before, now - before))
    return min(readings)[1]


def clock_resolution():
    """Return the step in which this computer's clock counts, in ns: 1 on Linux, up to 15.6 million on Windows."""
    return max(1, round(time.get_clock_info("time").resolution * SECOND))


def receive(sock, earliest):
    """Return the next packet on sock and the time of its arrival, in Unix ns: the kernel's, or the clock's right after.

    The kernel's time is not believed if it is before earliest or in the future. Raises socket.timeout.
    """
    if not SO_TIMESTAMPNS:
        return sock.recv(MAX_PACKET), time.time_ns()
    packet, notes, _, _ = sock.recvmsg(MAX_PACKET, socket.CMSG_SPACE(TIMESPEC.size))
    now = time.time_ns()
    for level, kind, data in notes:
        if (level, kind, len(data)) == (socket.SOL_SOCKET, SO_TIMESTAMPNS, TIMESPEC.size):
            whole, ns = TIMESPEC.unpack(data)
            arrived = whole * SECOND + ns
            if earliest <= arrived <= now:
                return packet, arrived
    return packet, now


def wait_for_reply(sock, request, started, t1, timeout):
    """Return the answer to request and the time of its arrival, in Unix ns.

    What cannot be the answer is ignored: somebody who cannot read the request can neither answer in the server's
    place nor prolong the wait. Raises NoTime when none came within timeout s of started (ns of the monotonic clock).
    """
    deadline = started + round(timeout * SECOND)
    ignored, why = 0, None
    while True:
        left = deadline - time.monotonic_ns()
        if left <= 0:
            but = f"; packets ignored: {ignored}, the last because {why}" if ignored else ""
            raise NoTime(f"no reply within {timeout:g} s (does a firewall block this UDP port?){but}")
        sock.settimeout(left / SECOND)
        try:
            packet, arrived = receive(sock, t1)
        except socket.timeout:
            continue
        why = not_the_answer(packet, request)
        if not why:
            return packet, arrived
        ignored += 1


# ---------------------------------------------------------------- the refusals


def not_the_answer(packet, request):
    """Return why packet cannot be the answer to request, or None."""
    if len(packet) < HEADER.size:
        return f"it was short: {len(packet)} bytes, not {HEADER.size}"
    if packet[0] & 0b111 != SERVER:
        return f"it was in mode {packet[0] & 0b111}, not {SERVER} (server)"  # RFC 4330, section 5, check 4
    if packet[24:32] != request[40:48]:
        return "it did not echo this request's transmit timestamp"  # RFC 5905, section 8: bogus
    return None


def refusal(sample):
    """Return why the answer in this Sample must not be used, or None: each line a condition and its reason."""
    header = sample.header
    if header.stratum == 0:  # RFC 5905, section 7.4; RFC 4330, section 8
        code = reference_id(header)
        return f"kiss-o'-death {code}: {kiss_words(code)}" if code else "kiss-o'-death without a code"
    if not 1 <= header.version <= VERSION:  # RFC 5905, section 9.2
        return f"it answers in NTP version {header.version}, which does not exist"
    if header.leap == UNSYNCHRONIZED:  # RFC 5905, appendix A.5.1.1
        return "its clock is not synchronized (leap indicator 3)"
    if header.stratum == MAX_STRATUM:  # RFC 5905, section 7.3, figure 11
        return "its clock is not synchronized (stratum 16)"
    if header.stratum > MAX_STRATUM:  # figure 11: reserved
        return f"its stratum, {header.stratum}, is reserved"
    if header.transmit == 0:  # RFC 5905, section 6: 0 means unknown; RFC 4330, section 5, check 4
        return "its transmit timestamp is missing"
    if header.receive == 0:  # RFC 5905, section 6
        return "its receive timestamp is missing"
    if header.reference == 0:  # RFC 5905, section 6: its clock has never been set
        return "its reference timestamp is missing"
    if sample.t3 < sample.t2:  # RFC 5905, section 8: T2 is taken first
        return f"its clock ran backwards, from receive to transmit, by {seconds(sample.t2 - sample.t3)} s"
    if to_unix_ns(header.reference) > sample.t3:  # RFC 5905, appendix A.5.1.1
        return "its clock was last set in the future (its reference timestamp is later than its transmit timestamp)"
    if sample.root_distance >= MAX_DISTANCE:  # RFC 5905, appendix A.5.1.1; a negative root delay reads as a vast one
        return f"its root distance, {seconds(sample.root_distance)} s, is not below 16 s"
    if sample.delay < -sample.dispersion:  # RFC 4330, section 5: but for what clocks cannot tell, none is negative
        return f"its times cannot be right: they make the delay {seconds(sample.delay)} s"
    return None


# ---------------------------------------------------------------- the result


def measure(request, reply, t1, t4, step):
    """Return the Sample of an exchange: the arithmetic of RFC 5905, sections 8 and 9.2.

    step: by how many ns the clock that can be set and the one that cannot disagree about how long it took.
    """
    header = unpack(reply)
    t2, t3 = to_unix_ns(header.receive), to_unix_ns(header.transmit)
    offset = ((t2 - t1) + (t3 - t4)) // 2
    delay = (t4 - t1) - (t3 - t2)
    # Section 9.2: both clocks can be read only so finely, and may have drifted by 15 parts in a million meanwhile.
    dispersion = power_to_ns(header.precision) + clock_resolution() + (t4 - t1) * 15 // 10**6 + step
    root_distance = sum(error_terms(header, delay, dispersion))
    return Sample(request, reply, header, t1, t2, t3, t4, offset, delay, dispersion, root_distance)


def error_terms(header, delay, dispersion):
    """Return what adds up to the root distance, in ns: half the delay, half the root delay, and both dispersions."""
    half_delay, half_root_delay = (max(delay, 0) + 1) // 2, (short_to_ns(header.root_delay) + 1) // 2
    return half_delay, half_root_delay, short_to_ns(header.root_dispersion), dispersion


def choose(samples):
    """Return the sample with the least delay (RFC 5905, section 10).

    Raises NoTime if another sample contradicts it: if there is no offset within the root distance of both, even if
    the clocks drifted apart by 500 parts in a million meanwhile (section 11.2.1: correctness intervals intersect).
    """
    best = min(samples, key=lambda sample: sample.delay)
    for other in samples:
        drift = abs(other.t4 - best.t4) // 2000
        if abs(other.offset - best.offset) > other.root_distance + best.root_distance + drift:
            raise NoTime("the samples contradict each other: was one of the two clocks set meanwhile?")
    return best


# ---------------------------------------------------------------- the report


def report(name, address, sample):
    """Return what the sample shows, as text: whom we asked, both clocks at T4, and how far apart they are."""
    if sample.offset == 0:
        words = "the two clocks agree"
    else:
        words = f"this computer's clock is {'behind' if sample.offset > 0 else 'ahead'}"
    return f"""\
Server:         {printable(name)} ({printable(address[0])} port {address[1]}), stratum {sample.header.stratum}
Server's clock: {utc(sample.t4 + sample.offset)}, when the reply arrived
This computer:  {utc(sample.t4)}, at the same moment
Offset:         {seconds(sample.offset, "+")} s: {words}
Delay:          {seconds(sample.delay)} s: the round trip, without the server's own time
Root distance:  {seconds(sample.root_distance)} s: the most that the offset can be wrong by"""


def as_json(name, address, sample, samples):
    """Return the same as one JSON object, its times in seconds with nine decimals."""
    import json  # here, because no other option needs it

    facts = {
        "server": printable(name),
        "address": printable(address[0]),
        "port": address[1],
        "stratum": sample.header.stratum,
        "leap": sample.header.leap,
        "version": sample.header.version,
        "reference_id": reference_id(sample.header),
    }
    # json.dumps() would turn the times into floats, which lose the ns of an offset of some months.
    times = [f'"offset": {seconds(one.offset)}, "delay": {seconds(one.delay)}' for one in (sample, *samples)]
    return (
        f'{json.dumps(facts)[:-1]}, {times[0]}, "root_distance": {seconds(sample.root_distance)}, '
        f'"samples": [{{{"}, {".join(times[1:])}}}]}}'
    )


# ---------------------------------------------------------------- the protocol, shown


def stratum_words(stratum):
    """Return what RFC 5905, section 7.3, figure 11 calls this stratum."""
    if stratum == 0:
        return "unspecified or invalid"
    if stratum == 1:
        return "primary server"
    if stratum < MAX_STRATUM:
        return "secondary server"
    return "unsynchronized" if stratum == MAX_STRATUM else "reserved"


def reference_id_lines(header):
    """Return what the reference ID says, in lines: what it is depends on the stratum (RFC 5905, section 7.3)."""
    text = reference_id(header)
    if header.reference_id == bytes(4):
        return ["0: not set"]
    if header.stratum == 0:
        return [f"{text}: a kiss code:", kiss_words(text)]
    if header.stratum == 1:
        return [f"{text}: its reference clock"]
    return [f"{text}: the address of its own server", "(IPv6: a hash of it; 127.127.x.x: a clock)"]


def timestamp_lines(timestamp, remark=None):
    """Return what a 64-bit timestamp says, in lines: its two words added up, since 1900, and as UTC."""
    if timestamp == 0:
        return ["0: not set"]
    whole, fraction = timestamp >> 32, timestamp % 2**32
    unix_ns = to_unix_ns(timestamp)
    return ([remark] if remark else []) + [
        f"{f'({whole} + 2^32)' if in_era_1(timestamp) else whole} s + {fraction} * 2^-32 s",
        f"= {seconds(unix_ns + UNIX_EPOCH)} s since the prime epoch",
        f"= {utc(unix_ns)}{' (era 1)' if in_era_1(timestamp) else ''}",
    ]


def dissect(packet):
    """Return a packet of 48 bytes or more in lines: each word as xxd -g 4 shows it, the field's name, what it says."""
    header = unpack(packet)
    kind = {CLIENT: "Request", SERVER: "Reply"}.get(header.mode, "Packet, neither request nor reply")
    echo_remark = "the request's transmit timestamp, sent back:" if header.mode == SERVER else None
    random_remark = "random bits, no time, if this client sent it:" if header.mode == CLIENT else None

    def power(exponent):
        unset = exponent == 0 and header.mode == CLIENT
        return "0: not set" if unset else f"{exponent}: 2^{exponent} s = {2.0**exponent:.3g} s"

    lines = [f"{kind}, {len(packet)} bytes:"]
    words = [f"{at:2}  {packet[at : at + 4].hex()}" for at in range(0, HEADER.size, 4)]
    for size, name, meaning in (  # size: how many words begin with this field; 0 where it is within one
        (1, "leap indicator", [f"{header.leap:02b}...... = {header.leap}: {LEAPS[header.leap]}"]),
        (0, "version", [f"..{header.version:03b}... = {header.version}"]),
        (0, "mode", [f".....{header.mode:03b} = {header.mode}: {MODES[header.mode]}"]),
        (0, "stratum", [f"{header.stratum}: {stratum_words(header.stratum)}"]),
        (0, "poll", [power(header.poll)]),
        (0, "precision", [power(header.precision)]),
        (1, "root delay", [f"{header.root_delay} * 2^-16 s = {header.root_delay / 2**16:.6f} s"]),
        (1, "root dispersion", [f"{header.root_dispersion} * 2^-16 s = {header.root_dispersion / 2**16:.6f} s"]),
        (1, "reference ID", reference_id_lines(header)),
        (2, "reference timestamp", timestamp_lines(header.reference)),
        (2, "originate timestamp", timestamp_lines(header.originate, echo_remark)),
        (2, "receive timestamp", timestamp_lines(header.receive)),
        (2, "transmit timestamp", timestamp_lines(header.transmit, random_remark)),
    ):
        rows = itertools.zip_longest(words[:size], [name], meaning, fillvalue="")
        lines += [f"{word:12}  {label:20}{text}".rstrip() for word, label, text in rows]
        words = words[size:]
    if len(packet) > HEADER.size:
        lines.append(f"{HEADER.size}  and {len(packet) - HEADER.size} bytes more: extension fields or a MAC, not shown")
    return lines


def arithmetic(sample):
    """Return the four times of a sample, drawn between the two clocks, and the formulas with its numbers put in."""
    (date1, t1), (_, t4), (date2, t2), (_, t3) = (
        utc(ns).split()[:2] for ns in (sample.t1, sample.t4, sample.t2, sample.t3)
    )
    there, back = seconds(sample.t2 - sample.t1, "+"), seconds(sample.t3 - sample.t4, "+")
    terms = " + ".join(map(seconds, error_terms(sample.header, sample.delay, sample.dispersion)))
    return f"""\
                     T2 = {t2}     T3 = {t3}
server's clock  -----+---------------------------+------------------------->
{date2}          /                             \\
           request /                               \\ reply
                  /                                 \\
this computer  --+-----------------------------------+--------------------->
{date1}       T1 = {t1}             T4 = {t4}

T1 and T4 are read on this computer; T2 and T3 come in the reply.

offset = ((T2 - T1) + (T3 - T4)) / 2
       = (({there}) + ({back})) / 2 s
       = {seconds(sample.offset, "+")} s

delay  = (T4 - T1) - (T3 - T2)
       = {seconds(sample.t4 - sample.t1)} - {seconds(sample.t3 - sample.t2)} s
       = {seconds(sample.delay)} s

root distance = delay / 2 + root delay / 2 + root dispersion + dispersion
       = {terms} s
       = {seconds(sample.root_distance)} s"""


# ---------------------------------------------------------------- main


def complain(message):
    """Print one line on stderr. If that is closed or full, the exit status has to do."""
    try:
        sys.stderr.write(f"ntp_client.py: error: {printable(message)}\n")
        sys.stderr.flush()
    except (AttributeError, OSError):
        pass


def fail(message, status=1):
    """Leave with this exit status and one line on stderr."""
    complain(message)
    sys.exit(status)


def within(kind, low, high):
    """Return a function that turns text into an int or a float (kind) from low to high, as argparse wants it."""
    what = "whole number" if kind is int else "number"

    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:  # not a number (nan) is not in any range
            raise argparse.ArgumentTypeError(f"{quoted(text)} is not a {what} from {low} to {high}")
        return value

    return convert


def command_line():
    """Return the command line's options and arguments, or leave: with help, or with status 2 and what is wrong."""
    parser = argparse.ArgumentParser(
        prog="ntp_client.py",
        description="Tell how far this computer's clock is from an NTP server's. It never sets the clock.",
        epilog="Exit status: 0 it worked, 1 it could not be done, 2 the command line was wrong, 130 Ctrl-C.",
        allow_abbrev=False,
        # Left to itself argparse asks for the terminal's width, and imports half the standard library to do so.
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=80),
    )
    parser.error = lambda message: fail(f"{message:.300} (see ntp_client.py --help)", status=2)
    family = parser.add_mutually_exclusive_group()
    family.add_argument("-4", dest="family", action="store_const", const=socket.AF_INET, default=0, help="use IPv4")
    family.add_argument("-6", dest="family", action="store_const", const=socket.AF_INET6, help="use IPv6")
    add = parser.add_argument
    count, pause, wait = within(int, 1, 10**6), within(float, 0, 86_400), within(float, 0.001, 86_400)
    add("-n", type=count, default=1, metavar="N", help="take N samples; that with the least delay counts")
    add("-i", type=pause, default=2.0, metavar="SECONDS", help="pause between samples (default: %(default)s)")
    add("-t", type=wait, default=5.0, metavar="SECONDS", help="wait for a reply (default: %(default)s)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-v", action="store_true", help="show the packets word by word, and the arithmetic")
    how.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    how.add_argument("--decode", metavar="FILE", help="show a packet saved by netcat (-: from stdin); ask no server")
    add("server", nargs="?", help="its name or address (default: pool.ntp.org)")
    add("port", nargs="?", type=within(int, 1, 65_535), default=123, help="its UDP port (default: %(default)s)")
    options = parser.parse_args()
    if options.decode is not None and options.server is not None:
        parser.error("--decode reads a file: a server cannot be named with it")
    if options.server is None:
        options.server = "pool.ntp.org"
    return options


def read_packet(name):
    """Return the packet saved in this file, or read from stdin when its name is -; or leave, if it is none."""
    try:
        with sys.stdin.buffer if name == "-" else open(name, "rb") as file:
            packet = file.read(MAX_PACKET + 1)
    except AttributeError:
        fail("cannot read -: standard input is closed")
    except OSError as error:
        fail(f"cannot read {quoted(name)}: {error.strerror}")
    if packet.startswith(b"00000000: "):
        fail(f"{quoted(name)} is what xxd prints: save what netcat prints, without xxd")
    if len(packet) < HEADER.size:
        fail(f"{quoted(name)} holds no NTP packet: it has {len(packet)} bytes, and a header has {HEADER.size}")
    if len(packet) > MAX_PACKET:
        fail(f"{quoted(name)} holds no NTP packet: it has more bytes than UDP can carry")
    return packet


def resolve(name, port, family):
    """Return the addresses of a server as (family, socket address), or leave when there are none."""
    try:
        # In ASCII, or Python loads its tables for international names to look at pool.ntp.org.
        found = socket.getaddrinfo(name.encode("ascii"), port, family, socket.SOCK_DGRAM)
    except UnicodeEncodeError:
        fail(f"cannot resolve {quoted(name)}: not ASCII; an international name has an ASCII form that begins with xn--")
    except OSError as error:
        fail(f"cannot resolve {quoted(name)}: {error.strerror}; check the name, -4 or -6, and the network")
    return list(dict.fromkeys((entry[0], entry[4]) for entry in found))  # each of them once


def ask(servers, options):
    """Yield (number, socket address, Sample or None, why there is none) for every packet sent.

    A sample is asked of one server after another until one gives it; that one is asked for the rest of them. A server
    that says stop is asked no more.
    """
    for number in range(1, options.n + 1):
        if number > 1 and servers:
            time.sleep(options.i)
        for server in list(servers):
            try:
                sample = exchange(*server, options.t)
            except NoTime as why:
                if isinstance(why, KissOfDeath):
                    servers.remove(server)
                yield number, server[1], None, why
            else:
                servers = [server]
                yield number, server[1], sample, None
                break


def main():
    """Ask, and print the result. Return the exit status."""
    if sys.stdout is None:
        fail("standard output is closed")
    options = command_line()
    if options.decode is not None:
        print(*dissect(read_packet(options.decode)), sep="\n")
        return 0

    servers = resolve(options.server, options.port, options.family)
    show_lines = options.n > 1 and not options.json
    samples, answered = [], None
    for number, address, sample, why in ask(servers, options):
        line = f"lost: {why}"
        if sample:
            samples.append(sample)
            answered = address
            line = f"offset {seconds(sample.offset, '+')} s, delay {seconds(sample.delay)} s"
        if show_lines:
            print(f"sample {number}: {printable(address[0])}: {line}", flush=True)
        elif why:
            complain(f"{address[0]} port {address[1]}: {why}")

    if not samples:
        if show_lines:
            complain("no sample gave the time")
        return 1
    try:
        best = choose(samples)
    except NoTime as why:
        fail(str(why))
    if options.json:
        print(as_json(options.server, answered, best, samples))
    else:
        print(report(options.server, answered, best))
    if options.v:
        print("", *dissect(best.request), "", *dissect(best.reply), "", arithmetic(best), sep="\n")
    return 0


if __name__ == "__main__":
    try:
        try:
            status = main()
        except SystemExit as leaving:  # after the help, or fail()
            status = leaving.code
        print(end="", flush=True)  # here, where a full disk or a closed pipe can still be reported
    except OSError as error:
        complain(f"cannot write the result: {error.strerror}")
        status = 1
    except KeyboardInterrupt:
        status = 130
    # Not sys.exit(): Python would write to the full disk again, and takes a tenth of the whole run to clean up.
    os._exit(status)
