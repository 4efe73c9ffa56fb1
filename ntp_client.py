#!/usr/bin/env python3
"""Part 5 of the lab: how far is this computer's clock from a server's? It never sets the clock.

    ntp_client.py [-h] [-4 | -6] [-n N] [-i SECONDS] [-t SECONDS]
                  [-v | --json | --decode FILE] [server [port]]

NTP is the Network Time Protocol. A request goes to the server, a reply comes back, and each of the
two computers reads its clock twice:

    T1  the request leaves this computer         T2  the request reaches the server
    T4  the reply reaches this computer          T3  the reply leaves the server

The offset is how far the server's clock is ahead of this one. T2 - T1 is the offset plus the time
that the request took. T3 - T4 is the offset minus the time that the reply took. No packet arrives
before it was sent, so

    T3 - T4  <=  offset  <=  T2 - T1

The middle of this interval is our estimate. Its width is how long the two packets travelled:

    offset = ((T2 - T1) + (T3 - T4)) / 2
    delay  = (T4 - T1) - (T3 - T2)

So the estimate is wrong by at most half the delay. But clocks count in steps, and drift: that
widens the interval a little at each end, by the dispersion. And the server's clock may be wrong,
too; its reply says by how much. So against the true time, the estimate is wrong by at most the root
distance, if the server tells the truth and nobody sets a clock:

    root distance = delay / 2 + dispersion + the server's own errors

With -n there are several samples, one from each exchange. The offset lies in the interval of each,
so it lies where all of them overlap, and the middle of that is the result:

    sample 1   |-----------|
    sample 2         |-----------|
    overlap          |-----|

A quick request gives a low upper end, a quick reply a high lower end: so the overlap can be
narrower than each sample. But clocks may drift apart by 1 ms in 1 s: all intervals but the
narrowest are widened by that, for the time in between.

exchange() is the protocol (RFC 5905) on one screen. What a function calls stands above it.
Exit status: 0 it worked, 1 it could not be done, 2 the command line was wrong, 130 Ctrl-C.
"""

import argparse
import datetime
import math
import os
import re
import socket
import struct
import sys
import time
from collections import namedtuple

# ---- Times
SECOND = 10**9  # times are integers, in nanoseconds (ns); pauses and deadlines are in s
# NTP counts from the prime epoch, 1900-01-01; Unix and Python count from 1970-01-01.
UNIX_EPOCH = 2_208_988_800  # s in between: 70 years, 17 of them leap years


def to_unix_ns(timestamp):
    """A 64-bit NTP timestamp as Unix time in ns.

    32 bits count seconds since the prime epoch, and 32 bits parts of 1/2^32 s. In 2036 the seconds
    start again at 0. So if the first bit is 1, it is a time from 1968 to 2036, and if it is 0, one
    of 2036 to 2104 (RFC 4330, section 3).
    """
    whole, fraction = divmod(timestamp, 2**32)
    if whole < 2**31:  # the first bit is 0
        whole += 2**32
    return (whole - UNIX_EPOCH) * SECOND + round(fraction * SECOND / 2**32)


def binary_to_ns(number, exponent):
    """number * 2^exponent seconds in ns, rounded up."""
    return math.ceil(number * 2.0**exponent * SECOND)


def drift(elapsed):
    """How many ns two clocks may drift apart in elapsed ns: a thousandth, rounded up.

    Each may be off by half: 500 parts in a million, the most NTP can correct (RFC 5905, A.5.5.6).
    """
    return math.ceil(abs(elapsed) / 1000)


def seconds(ns, sign=""):
    """Text: ns in seconds, with nine decimals. sign: put before it, unless it is negative."""
    whole, decimals = divmod(abs(ns), SECOND)
    return f"{'-' if ns < 0 else sign}{whole}.{decimals:09d}"


# ---- The packet
# RFC 5905, section 7.3, figure 8. For struct, > is big-endian; B and b are a byte without and with
# a sign, I and i 32 bits, 4s four bytes, Q 64 bits. The first byte holds three fields.
LAYOUT = struct.Struct(">BBbbiI4sQQQQ")
Header = namedtuple(
    "Header",
    [
        "leap",  # B, its first 2 bits: is a leap second ahead? 3: not synchronized
        "version",  # the next 3 bits
        "mode",  # the last 3 bits: 3 is a request, 4 a reply
        "stratum",  # B: 1 has a reference clock (GPS, say), 2 asks a 1, and so on; 0 has no time
        "poll",  # b: the longest pause between requests is 2^poll s; a reply just repeats it
        "precision",  # b: the server's clock counts in steps of 2^precision s
        "root_delay",  # i: the delay to the reference clock, the root, in 2^-16 s; old servers: < 0
        "root_dispersion",  # I: other errors on the way from there, in 2^-16 s
        "reference_id",  # 4s: where the server's time is from; at stratum 0: why it has none
        "reference_timestamp",  # Q: when the server's clock was last set; 0: not known
        "originate_timestamp",  # Q: the request's transmit timestamp, sent back
        "receive_timestamp",  # Q: T2
        "transmit_timestamp",  # Q: T3
    ],
)


def new_request(random_bits):
    """A request: version, mode, and random_bits (8 bytes) as its transmit timestamp.

    The server sends them back as the originate timestamp. So only who has seen the request can
    forge the reply. T1 itself is not sent: no server needs it (RFC 8915, section 9.2).
    """
    return bytes([0b00_100_011]) + bytes(39) + random_bits  # leap 0, version 4, mode 3


def unpack(packet):
    """The Header in the first 48 bytes of packet. (Three fields share the first byte.)"""
    first_byte, *others = LAYOUT.unpack_from(packet)
    return Header(first_byte >> 6, (first_byte >> 3) & 0b111, first_byte & 0b111, *others)


# ---- What is measured, and what is refused
# address: as sockets want it; name: as people read it, "127.0.0.1 port 123"
Server = namedtuple("Server", "family address name")
# What one exchange measured; all times and durations are in ns.
#     server, request, reply, header  the Server, both packets, and the Header of the reply
#     t1, t2, t3, t4                  Unix times
#     dispersion                      what steps and drift of these two clocks add at each end
#     low, high                       the offset is not less than low, and not more than high
#     offset                          the middle: add it to this clock to have the server's time
#     delay                           a little below 0 if clocks count in large steps
Sample = namedtuple(
    "Sample", "server request reply header t1 t2 t3 t4 dispersion low high offset delay"
)


class Failure(Exception):
    """Something could not be done. The text says why; sample is the refused one, if any."""

    def __init__(self, text, sample=None):
        super().__init__(text)
        self.sample = sample


class NoReply(Failure):
    """No reply came in time. The text says what came instead, and is empty if nothing did."""


class KissOfDeath(Failure):
    """A kiss-o'-death came: no time, but a code. We ask this server no more (RFC 4330, 8)."""


def server_errors(header):
    """Two errors of the server's clock, in ns: half its root delay, and its root dispersion."""
    return binary_to_ns(abs(header.root_delay) / 2, -16), binary_to_ns(header.root_dispersion, -16)


def root_distance(low, high, header):
    """In ns: half of high - low (of a sample: delay / 2 + dispersion), plus the server's errors."""
    return (high - low + 1) // 2 + sum(server_errors(header))  # RFC 5905, A.5.5.2; + 1 rounds up


KISS_CODES = {  # RFC 5905, section 7.4, figure 13: those that a client like this one meets
    "DENY": "access denied by the server",
    "RSTR": "access denied by policy",
    "RATE": "asked too often",
    "INIT": "not yet synchronized",
    "STEP": "its clock was just set",
}


def check(sample):
    """Raise KissOfDeath or Failure, with the reason, if a sample must not be used."""
    header, reason = sample.header, None
    if header.stratum == 0 and any(header.reference_id):  # a kiss-o'-death
        code = header.reference_id.rstrip(b"\0").decode("latin-1")
        meaning = KISS_CODES.get(code, "not known here")
        raise KissOfDeath(f"kiss-o'-death {code}: {meaning}; it is not asked again", sample)
    distance = root_distance(sample.low, sample.high, header)
    if not 1 <= header.version <= 4:  # RFC 4330, section 5; RFC 5905, section 9.2
        reason = f"it answers in NTP version {header.version}, and this client knows 1 to 4"
    elif header.leap == 3:  # RFC 5905, section 7.3, figure 9
        reason = "its clock is not synchronized (leap indicator 3)"
    elif not 1 <= header.stratum <= 15:  # section 7.3, figure 11
        reason = f"its clock is not synchronized (stratum {header.stratum})"
    elif header.transmit_timestamp == 0:  # RFC 4330, section 5
        reason = "its transmit timestamp is missing"
    elif header.receive_timestamp == 0:  # RFC 5905, section 6
        reason = "its receive timestamp is missing"
    elif sample.t3 < sample.t2 - binary_to_ns(1, header.precision):  # section 6 allows one step
        reason = f"its clock ran backwards, by {seconds(sample.t2 - sample.t3)} s from T2 to T3"
    elif sample.high <= sample.low:  # high - low is delay + 2 * dispersion
        reason = "T2 to T3 took longer than T1 to T4 (or this computer's clock was set)"
    elif distance >= 16 * SECOND:  # appendix A.5.1.1 limits the server's part to this
        reason = f"the root distance, {seconds(distance)} s, is not below 16 s"
    if reason:
        raise Failure(f"{reason}; if this lasts, ask another server", sample)


# Linux notes when each packet arrives, if asked to: some microseconds before Python gets it.
SO_TIMESTAMPNS = 35  # the option that asks for it; the module socket does not name it
TIMESPEC = struct.Struct("@ll")  # the note: two C longs, seconds and ns
BUFFER = 2**16  # bytes: longer than any UDP packet


def prepare_socket(sock):
    """Ask the kernel to note arrivals, and for room for many packets: forged ones may pour in."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        if sys.platform == "linux":
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        pass  # it works without them, too


def receive(sock, t1):
    """The next packet, and when it arrived, in Unix ns. Raises socket.timeout.

    The kernel's note comes beside the packet, as ancillary data. It counts if it lies between T1
    and now: under libfaketime, say, programs see another clock than the kernel.
    """
    if sys.platform != "linux":
        return sock.recv(BUFFER), time.time_ns()
    packet, notes, _, _ = sock.recvmsg(BUFFER, socket.CMSG_SPACE(TIMESPEC.size))
    now = time.time_ns()
    for _, _, note in notes:  # level, type, data
        if len(note) == TIMESPEC.size:
            whole, ns = TIMESPEC.unpack(note)
            arrival = whole * SECOND + ns
            if t1 <= arrival <= now:
                return packet, arrival
    return packet, now


def wait_for_reply(sock, random_bits, t1, deadline):
    """The reply to the request with these random bits, and T4, when it arrived, in Unix ns.

    Other packets are ignored: who has not seen the request can neither answer nor prolong the wait.
    Raises NoReply when time.monotonic() has reached the deadline.
    """
    ignored = 0
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise NoReply(f"packets that answer no request: {ignored}" if ignored else "")
        sock.settimeout(min(remaining, 0.5))  # on Windows, Ctrl-C works only between waits
        try:
            packet, t4 = receive(sock, t1)
        except socket.timeout:
            continue
        # Bytes 24 to 31 are the originate timestamp (RFC 4330, section 5).
        if len(packet) >= 48 and (packet[0] & 0b111) == 4 and packet[24:32] == random_bits:
            return packet, t4
        ignored += 1


def exchange(server, deadline):
    """The Sample that one request brings. Raises NoReply at the deadline, or another Failure."""
    random_bits = os.urandom(8)
    request = new_request(random_bits)
    try:
        with socket.socket(server.family, socket.SOCK_DGRAM) as sock:
            prepare_socket(sock)
            sock.connect(server.address)  # the kernel drops what comes from another address
            t1 = time.time_ns()
            sock.send(request)
            reply, t4 = wait_for_reply(sock, random_bits, t1, deadline)
    except (ConnectionRefusedError, ConnectionResetError):  # so says an ICMP message
        raise Failure("nothing is listening on this UDP port, or a firewall rejects it")
    except OSError as error:
        raise Failure(f"cannot reach it: {error.strerror}; check the network and its firewalls")
    header = unpack(reply)
    t2, t3 = to_unix_ns(header.receive_timestamp), to_unix_ns(header.transmit_timestamp)
    # Each end comes from one reading of each clock, which may be a step wrong. And the true offset
    # may drift: widened by that, the interval contains it at every moment from T1 to T4.
    server_step = binary_to_ns(1, header.precision)
    own_step = max(1, round(time.get_clock_info("time").resolution * SECOND))
    dispersion = server_step + own_step + drift(t4 - t1)
    low = (t3 - t4) - dispersion
    high = (t2 - t1) + dispersion
    offset = ((t2 - t1) + (t3 - t4)) // 2
    delay = (t4 - t1) - (t3 - t2)
    sample = Sample(
        server, request, reply, header, t1, t2, t3, t4, dispersion, low, high, offset, delay
    )
    check(sample)
    return sample


# ---- A packet, shown
# RFC 5905, section 7.3, figure 9. The last minute of the month is meant.
LEAPS = ["no warning", "last minute has 61 s", "last minute has 59 s", "clock not synchronized"]


def printable(text):
    """text with all but printable ASCII escaped: terminals obey control characters."""
    return "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text)


def utc(unix_ns):
    """Text: the date and the time of day of a Unix time in ns."""
    whole, ns = divmod(unix_ns, SECOND)
    return f"{datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=whole)}.{ns:09d} UTC"


def timestamp_lines(timestamp):
    """Two strings, for two lines: an NTP timestamp in s, and its date."""
    if timestamp == 0:
        return "0:", "not set"
    unix_ns = to_unix_ns(timestamp)
    return f"{seconds(unix_ns + UNIX_EPOCH * SECOND)} s since the prime epoch:", utc(unix_ns)


def dissect(packet):
    """Text: the header of a packet, its words as xxd -g 4 shows them, and what each field says."""
    word = [packet[at : at + 4].hex() for at in range(0, 48, 4)]
    header = unpack(packet)
    kind = {3: "Request", 4: "Reply"}.get(header.mode, "Packet")
    poll, precision = header.poll, header.precision
    address, letters = ".".join(map(str, header.reference_id)), ascii(header.reference_id)[1:]
    root_delay, root_dispersion = header.root_delay, header.root_dispersion
    reference = timestamp_lines(header.reference_timestamp)
    receive = timestamp_lines(header.receive_timestamp)
    transmit = timestamp_lines(header.transmit_timestamp)
    if header.mode == 3 and header.transmit_timestamp:
        transmit = "a time or random bits,", "which the reply sends back"
    text = f"""\
{kind}, {len(packet)} bytes:
 0  {word[0]}  leap indicator      {header.leap:02b}...... = {header.leap}: {LEAPS[header.leap]}
              version             ..{header.version:03b}... = {header.version}
              mode                .....{header.mode:03b} = {header.mode} (3: request, 4: reply)
              stratum             {header.stratum} (1: reference clock, 16: not synchronized)
              poll                {poll}: 2^{poll} s = {2.0**poll:.3g} s
              precision           {precision}: 2^{precision} s = {2.0**precision:.3g} s
 4  {word[1]}  root delay          {root_delay} * 2^-16 s = {root_delay / 2**16:.6f} s
 8  {word[2]}  root dispersion     {root_dispersion} * 2^-16 s = {root_dispersion / 2**16:.6f} s
12  {word[3]}  reference ID        {address} or {letters}
16  {word[4]}  reference timestamp {reference[0]}
20  {word[5]}                      {reference[1]}
24  {word[6]}  originate timestamp the transmit timestamp of the packet
28  {word[7]}                      that this one answers (0: none)
32  {word[8]}  receive timestamp   {receive[0]}
36  {word[9]}                      {receive[1]}
40  {word[10]}  transmit timestamp  {transmit[0]}
44  {word[11]}                      {transmit[1]}"""
    if len(packet) > 48:
        text += f"\n48  and {len(packet) - 48} bytes more: extension fields or a MAC"
    return text


def both_packets(sample):
    """Text: the request and the reply of a sample, dissected."""
    return f"{dissect(sample.request)}\n\n{dissect(sample.reply)}"


def from_xxd(lines):
    """The bytes that xxd shows in these lines: 00000000: 240206ec 00000042  $......B"""
    packet = b""
    for line in lines:
        position, words = line.split(": ", 1)
        if int(position, 16) != len(packet):
            raise Failure(f"is a line missing, or two dumps in one file? Here: {line!a:.80}")
        try:
            packet += bytes.fromhex(words.split("  ")[0])  # two spaces end the words
        except ValueError:
            raise Failure(f"this line is damaged: {line!a:.80}")
    return packet


def tells_time(first_byte):
    """Whether this begins a packet about time. (Modes 6 and 7 manage servers.)"""
    version, mode = (first_byte >> 3) & 0b111, first_byte & 0b111
    return 1 <= version <= 4 and 1 <= mode <= 5


def read_packet(name):
    """The packet in this file (-: stdin), which holds its bytes, or what xxd prints of them."""
    try:
        with open(0 if name == "-" else name, "rb") as file:
            packet = file.read(2**20)
    except OSError as error:
        raise Failure(f"cannot read {name!a:.200}: {error.strerror}")
    # xxd's lines may stand among others, copied from a terminal.
    lines = re.findall(r"^ *([0-9a-f]{7,8}: .*)", packet.decode("latin-1"), re.MULTILINE)
    if lines:
        packet = from_xxd(lines)
    elif packet.isascii() and b"\0" not in packet:  # other text, or nothing
        raise Failure(f"{name!a:.200} is empty, or text that is not from xxd: no reply came?")
    if not 48 <= len(packet) <= 1500 or not tells_time(packet[0]):  # 1500: Ethernet's limit
        reason = f"{len(packet)} bytes that begin with 0x{packet[:1].hex()}"
        raise Failure(f"{name!a:.200} holds no NTP packet that tells the time: {reason}")
    # What may follow begins otherwise: a field with 0x02 (type 0x0204), a MAC with 0x00 (key 1).
    if len(packet) > 48 and tells_time(packet[48]):
        raise Failure(f"{name!a:.200} holds more than one packet: {len(packet)} bytes")
    return packet


# ---- Asking, once and many times
def tell(message):
    """Print a line on stderr. If that is closed or full, there is still the exit status."""
    try:
        sys.stderr.write(f"ntp_client.py: {printable(message)}\n")
        sys.stderr.flush()
    except (AttributeError, OSError):  # it is None, or full
        pass


def ask(servers, args, answered):
    """The Sample of the first server that gives one. Tells what fails, and raises the last Failure.

    A silent server is asked again, after the others, while args.timeout lasts. One that refuses,
    or cannot be reached, is not, for this sample. answered: whether there was an answer before.
    """
    guess = f"does a firewall block UDP port {args.port}?"
    if answered:
        guess = "the packet was lost, or the server limits its rate"
    deadline = time.monotonic() + args.timeout
    # Servers want 2 s between requests (RFC 5905, section 13.2). At most three such waits fit in.
    patience = max(2, args.timeout / 3)
    queue, seen = list(servers), ""
    while True:
        server = queue.pop(0)
        wait_ends = min(time.monotonic() + patience, deadline)
        try:
            return exchange(server, wait_ends)
        except NoReply as failure:
            queue.append(server)
            seen = str(failure) or seen
            if time.monotonic() >= deadline:
                tell(f"error: {args.server}: no reply within {args.timeout:g} s ({seen or guess})")
                raise
            if sys.stderr and sys.stderr.isatty():
                tell(f"no reply from {server.name} yet: still asking")
        except Failure as failure:
            tell(f"error: {server.name}: {failure}")
            if args.verbose and failure.sample:
                print(both_packets(failure.sample), end="\n\n", flush=True)
            if not queue:
                raise


# What samples say together, in ns, about the moment T4 of the one with the narrowest interval.
#     narrowest      that Sample
#     low, high      where all overlap: the offset is not less, and not more
#     offset         the middle of that
#     root_distance  half of high - low, plus the server's errors
Result = namedtuple("Result", "narrowest low high offset root_distance")


def combine(samples):
    """The Result: where all samples overlap, at the moment T4 of the narrowest one.

    What the clocks may drift in between widens the others. Raises Failure if there is no overlap.
    """
    narrowest = min(samples, key=lambda sample: sample.high - sample.low)
    low, high = narrowest.low, narrowest.high
    for sample in samples:
        apart = drift(sample.t4 - narrowest.t4)
        low = max(low, sample.low - apart)
        high = min(high, sample.high + apart)
    if low > high:
        reason = "a clock was set or is being corrected, or several servers answer at this address"
        raise Failure(f"the samples contradict each other: {reason}")
    distance = root_distance(low, high, narrowest.header)
    return Result(narrowest, low, high, (low + high) // 2, distance)


def column(ns, first_sample):
    """The column for ns, 0 to 24. first_sample.low is at 6, and .high, never the same, at 18."""
    at = 6 + 12 * (ns - first_sample.low) // (first_sample.high - first_sample.low)
    return min(max(at, 0), 24)


def drawn(label, interval, first_sample):
    """Text: the interval of a Sample or a Result, drawn; its middle, and half its width, in s."""
    left, right = column(interval.low, first_sample), column(interval.high, first_sample)
    row = [" "] * 25
    row[left : right + 1] = "-" * (right - left + 1)
    for at in (left, right):  # columns 0 and 24: an end lies there, or farther out
        row[at] = "<" if at == 0 else ">" if at == 24 else "|"
    half_width = seconds((interval.high - interval.low + 1) // 2)
    return f"{label:11} {''.join(row)} {seconds(interval.offset, '+')} +- {half_width} s"


def as_json(name, result, number, count, lost):
    """Text: JSON. number: that of the one sample in this Result, or None for all count samples."""
    import json  # here, because loading it takes time

    sample, header = result.narrowest, result.narrowest.header
    facts = {
        "sample": number,
        "samples": count,
        "lost": lost,
        "server": name,
        "address": sample.server.address[0],
        "port": sample.server.address[1],
        "stratum": header.stratum,
        "leap": header.leap,
        "t1": seconds(sample.t1),  # text, since a number in JavaScript would lose nanoseconds
        "t2": seconds(sample.t2),
        "t3": seconds(sample.t3),
        "t4": seconds(sample.t4),
        "offset": result.offset / SECOND,
        "delay": sample.delay / SECOND,  # the narrowest one's, like the times and dispersion
        "dispersion": sample.dispersion / SECOND,
        "root_distance": result.root_distance / SECOND,
    }
    return json.dumps(facts)


def take_samples(servers, args):
    """The Samples, each printed if there shall be several; how many failed; the exit status.

    The run ends early if nobody gives the first, if a later one is a kiss-o'-death, and at Ctrl-C.
    """
    samples, lost = [], 0
    try:
        for number in range(1, args.count + 1):
            if samples:
                time.sleep(args.pause)
            try:
                sample = ask(servers, args, answered=bool(samples))
            except Failure as failure:  # ask() has told it
                lost += 1
                if not samples or isinstance(failure, KissOfDeath):
                    break
                continue  # the next one may come
            samples.append(sample)
            servers = [sample.server]  # it stays with the one that answered
            if args.count > 1 and args.json:
                print(as_json(args.server, combine([sample]), number, 1, lost), flush=True)
            elif args.count > 1:
                print(drawn(f"sample {number}", sample, samples[0]), flush=True)
    except KeyboardInterrupt:
        return samples, lost, 130  # what there is counts
    return samples, lost, 0 if samples else 1


# ---- The result
def report(name, result):
    """Text: the result, for people."""
    sample, header = result.narrowest, result.narrowest.header
    if abs(result.offset) <= result.root_distance:  # this clock may be right
        verdict = "within the possible error"
    else:
        verdict = f"this clock is {'behind' if result.offset > 0 else 'ahead of'} the server's"
    distance = seconds(result.root_distance)
    leap = f"\nLeap second:    the month's {LEAPS[header.leap]}" if header.leap else ""
    return f"""\
Server:         {printable(name):.64}
Address:        {sample.server.name}, stratum {header.stratum}
Server's clock: {utc(sample.t4 + result.offset)}, when the reply arrived
This computer:  {utc(sample.t4)}, at the same moment
Offset:         {seconds(result.offset, "+")} s: {verdict}
Delay:          {seconds(max(sample.delay, 0))} s: the round trip, without the server's own time
Root distance:  {distance} s: the largest error if the server tells the truth{leap}"""


def arithmetic(sample):
    """Text: a sample's four times, drawn between the two clocks, and the formulas with numbers."""
    t1, t2, t3, t4 = (utc(ns).split()[1] for ns in (sample.t1, sample.t2, sample.t3, sample.t4))
    negative = " (clocks count in steps: the report says 0)" if sample.delay < 0 else ""
    errors = [(sample.delay + 1) // 2, sample.dispersion, *server_errors(sample.header)]
    return f"""
                     T2 = {t2}     T3 = {t3}
server's clock  -----+---------------------------+------------------------->
                    /                             \\
           request /                               \\ reply
                  /                                 \\
this computer  --+-----------------------------------+--------------------->
                 T1 = {t1}             T4 = {t4}

offset = ((T2 - T1) + (T3 - T4)) / 2
       = (({seconds(sample.t2 - sample.t1, "+")}) + ({seconds(sample.t3 - sample.t4, "+")})) / 2 s
       = {seconds(sample.offset, "+")} s

delay  = (T4 - T1) - (T3 - T2)
       = {seconds(sample.t4 - sample.t1)} - {seconds(sample.t3 - sample.t2)} s
       = {seconds(sample.delay)} s{negative}

root distance = delay / 2 + dispersion + root delay / 2 + root dispersion
  = {" + ".join(map(seconds, errors))} s
  = {seconds(root_distance(sample.low, sample.high, sample.header))} s
"""


def print_result(result, args, samples, lost):
    """Print the Result of a list of samples, in the form that the options ask for."""
    if args.json:
        print(as_json(args.server, result, None, len(samples), lost))
        return
    if args.count > 1:
        print(drawn("overlap", result, samples[0]))
    print(report(args.server, result))
    if not args.verbose:
        return
    if args.count > 1:
        print("\nThe sample with the narrowest interval:")
    print(arithmetic(result.narrowest))
    if args.count > 1:
        half_width = seconds((result.high - result.low + 1) // 2)
        print(f"where all overlap, {half_width} s take the place of delay / 2 + dispersion:")
        print(f"root distance = {seconds(result.root_distance)} s\n")
    print(both_packets(result.narrowest))


# ---- The command line
def check_arguments(parser, args):
    """Leave by parser.error() if the arguments make no sense."""
    if args.decode is not None and args.server != parser.get_default("server"):
        parser.error("--decode reads a file and asks no server")
    if "/" in args.server or "[" in args.server or args.server.count(":") == 1:  # IPv6 has more
        parser.error(f"{args.server!a:.200}: name the host alone, then the port, as in: ::1 123")
    for name, value, low, high in (
        ("-n", args.count, 1, 10**6),
        ("-i", args.pause, 0, 86_400),
        ("-t", args.timeout, 0.001, 86_400),
        ("the port", args.port, 1, 65_535),
    ):
        if not low <= value <= high:  # this way round, nan is refused too
            parser.error(f"{name} must be a number from {low} to {high}")


def read_command_line():
    """The arguments. Leaves by SystemExit after the help, and if they are wrong."""
    parser = argparse.ArgumentParser(
        # Without a usage and a width, argparse works them out at every start.
        usage="""%(prog)s [-h] [-4 | -6] [-n N] [-i SECONDS] [-t SECONDS]
                     [-v | --json | --decode FILE] [server [port]]""",
        description="Tell how far this computer's clock is from an NTP server's, and never set it.",
        epilog="To try it without a network: tests/fake_ntp_server.py ./ntp_client.py -n 8",
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=80),
    )
    family, output = parser.add_mutually_exclusive_group(), parser.add_mutually_exclusive_group()
    family.add_argument("-4", dest="ipv4", action="store_true", help="use IPv4")
    family.add_argument("-6", dest="ipv6", action="store_true", help="use IPv6")
    add = parser.add_argument
    span = {"type": float, "metavar": "SECONDS"}
    add("-n", dest="count", type=int, default=1, metavar="N", help="take N samples (default: 1)")
    add("-i", dest="pause", **span, default=2, help="pause between samples (default: 2)")
    add("-t", dest="timeout", **span, default=6, help="time for a sample (default: 6)")
    output.add_argument("-v", dest="verbose", action="store_true", help="show sums and packets")
    output.add_argument("--json", action="store_true", help="print JSON, an object a line")
    output.add_argument("--decode", metavar="FILE", help="show a saved packet (-: from stdin)")
    add("server", nargs="?", default="pool.ntp.org", help="name or address (default: pool.ntp.org)")
    add("port", nargs="?", type=int, default=123, help="UDP port (default: 123)")
    args = parser.parse_intermixed_args()  # options may stand between server and port
    check_arguments(parser, args)
    return args


def take_turns(servers):
    """The servers, IPv6 and IPv4 in turn: one of the two may be dead as a whole (RFC 8305)."""
    first = [server for server in servers if server.family == servers[0].family]
    second = [server for server in servers if server.family != servers[0].family]
    turns = []
    for at in range(len(servers)):
        turns += first[at : at + 1] + second[at : at + 1]  # [] after the end
    return turns


def resolve(args):
    """The Servers with the name args.server, each address once."""
    family = socket.AF_INET if args.ipv4 else socket.AF_INET6 if args.ipv6 else socket.AF_UNSPEC
    try:  # bytes: for a str, Python would load tables of international names
        found = socket.getaddrinfo(os.fsencode(args.server), args.port, family, socket.SOCK_DGRAM)
    except OSError as error:
        advice = "check the name and the network, or try tests/fake_ntp_server.py ./ntp_client.py"
        raise Failure(f"cannot resolve {args.server!a:.200}: {error.strerror}; {advice}")
    servers = []
    for family, _, _, _, address in found:
        server = Server(family, address, f"{printable(address[0])} port {address[1]}")
        if server not in servers and address[0] not in ("0.0.0.0", "::"):
            servers.append(server)
    if not servers:  # this is how a network may block a name
        raise Failure(f"{args.server!a:.200} has no address but 0.0.0.0 or ::; is it blocked?")
    return take_turns(servers)


def main():
    """Do what the command line says, and return the exit status."""
    args = read_command_line()
    if sys.stdout is None:
        raise Failure("standard output is closed")
    if args.decode is not None:
        print(dissect(read_packet(args.decode)))
        return 0
    samples, lost, status = take_samples(resolve(args), args)
    if samples:
        print_result(combine(samples), args, samples, lost)
    return status


if __name__ == "__main__":
    try:
        status = main()
        print(end="", flush=True)  # a full disk or a closed pipe fails here
    except Failure as failure:
        tell(f"error: {failure}")
        status = 1
    except OSError as error:
        tell(f"error: cannot write the result: {error.strerror}")
        status = 1
    except KeyboardInterrupt:
        status = 130
    # Not sys.exit(): it would write to the full disk again, and its clean-up takes time.
    os._exit(status)
