#!/usr/bin/env python3
"""Compare this computer's clock with an NTP server's, without setting either (lab part 5).

    ntp_client.py [-h] [-4 | -6] [-n N] [-i SECONDS] [-t SECONDS]
                  [-v | --json | --decode FILE] [server [port]]

NTP is the Network Time Protocol. The client sends a request and the server sends a reply. Each
computer reads its clock twice:

    T1  the request leaves this computer         T2  the request reaches the server
    T4  the reply reaches this computer          T3  the reply leaves the server

The real offset is how far the server's clock is ahead of this computer's. T2 - T1 is the real
offset plus the time the request travelled; T3 - T4 is the real offset minus the time the reply
travelled. No packet arrives before it is sent, so

    T3 - T4  <=  real offset  <=  T2 - T1

We report the middle of this interval as the offset. The width of the interval is the delay, the
total travel time of both packets:

    offset = ((T2 - T1) + (T3 - T4)) / 2
    delay  = (T4 - T1) - (T3 - T2)

If the clocks were perfect, the offset would be wrong by at most half the delay, and exact if both
packets took the same time. But both clocks count in steps, and they drift, so we widen the interval
a little at each end, by the dispersion. The server's clock may itself be wrong; the reply bounds
this error with two values, the root delay and the root dispersion. The sum of all bounds is the
root distance, our margin of error. This computer's clock plus the offset equals UTC to within the
root distance if the server tells the truth and no clock is adjusted between T1 and T4.

    root distance = delay / 2 + dispersion + root delay / 2 + root dispersion

With -n, the client takes several samples, one per exchange. If the clocks did not drift, the real
offset would lie in the interval of every sample, that is, where all the intervals overlap. We
report the middle of the overlap:

    sample 1   |-----------|
    sample 2         |-----------|
    overlap          |-----|

A quick request lowers the upper end, and a quick reply raises the lower end, so the overlap can be
narrower than any single interval. Since clocks drift apart by up to 1 ms per second, we first
widen every interval by the most they can drift between its sample and the narrowest sample. So we
report the offset at the time of the narrowest sample.

The class Exchange is the heart of the protocol (RFC 5905). Functions come after those they call.
Exit status: 0 on success, 1 on failure, 2 on a usage error, 130 on Ctrl-C.
"""

import argparse
import datetime
import errno
import itertools
import math
import os
import re
import select
import socket
import struct
import sys
import time
from collections import namedtuple

# ---- Times
SECOND = 10**9  # times and durations are integers in ns; only deadlines and options are in s
# NTP counts from the prime epoch, 1900-01-01; Unix and Python count from 1970-01-01.
UNIX_EPOCH = 2_208_988_800  # seconds in the 70 years (17 leap years) between the epochs


def to_unix_ns(timestamp):
    """Convert a 64-bit NTP timestamp to Unix time in ns.

    The upper 32 bits count seconds since the prime epoch, and the lower 32 bits count units of
    1/2^32 s. The seconds wrap around to 0 in 2036. By convention, the top bit is 1 for times
    from 1968 to 2036 and 0 for times from 2036 to 2104 (RFC 4330, section 3).
    """
    whole, fraction = divmod(timestamp, 2**32)
    if whole < 2**31:  # the top bit is 0, so from 2036 on
        whole += 2**32
    return (whole - UNIX_EPOCH) * SECOND + round(fraction * SECOND / 2**32)


def to_ns(duration):
    """Convert a duration from s to ns, rounding up so that no error is understated."""
    return math.ceil(duration * SECOND)


# Each clock may gain or lose up to 500 parts per million (ppm), the most that NTP can correct (RFC
# 5905, A.5.5.6). The fastest clock then gains 1.0005 / 0.9995 - 1 = 1000.5 ppm on the slowest.
MAX_DRIFT = 1001  # ppm, or about 1 ms per second


def max_drift(elapsed):
    """Return how far, in ns, two clocks may drift apart during elapsed ns."""
    return math.ceil(abs(elapsed) * MAX_DRIFT / 10**6)


# ---- The packet
# See RFC 5905, section 7.3, figure 8. In a struct format, > means big-endian; b and i are signed
# integers of 8 and 32 bits; B, I and Q are unsigned integers of 8, 32 and 64 bits; 4s is 4 bytes.
LAYOUT = struct.Struct(">BBbbiI4sQQQQ")
Header = namedtuple(
    "Header",
    [
        "leap",  # the first 2 bits of a B: whether a leap second is due, or 3 if not synchronized
        "version",  # the next 3 bits
        "mode",  # the last 3 bits: 3 is a request, 4 is a reply
        "stratum",  # B: hops from a reference clock such as GPS, 1 to 15; 0 and 16 mean no time
        "poll",  # b: the longest time between requests is 2^poll s
        "precision",  # b: a step of the server's clock, or the time to read it, is 2^precision s
        "root_delay",  # i: the delay to the reference clock, in 2^-16 s; may be negative (RFC 4330)
        "root_dispersion",  # I: other errors accumulated along the way, in 2^-16 s
        "reference_id",  # 4s: the source of the server's time; at stratum 0, why there is no time
        "reference_timestamp",  # Q: when the server's clock was last set; 0 if unknown
        "originate_timestamp",  # Q: the request's transmit timestamp, sent back
        "receive_timestamp",  # Q: T2
        "transmit_timestamp",  # Q: T3
    ],
)


def unpack(packet):
    """Return the Header in the first 48 bytes of a packet."""
    first_byte, *others = LAYOUT.unpack_from(packet)
    return Header(first_byte >> 6, (first_byte >> 3) & 0b111, first_byte & 0b111, *others)


# ---- One exchange
# family: IPv4 or IPv6; address: as sockets expect it; host: the IP address as text, with its zone
# if it has one (fe80::1%lo); name: as messages show it, such as "127.0.0.1 port 123"
Server = namedtuple("Server", "family address host name")
# A Sample holds the measurements of one exchange. All times and durations are in ns.
#     server, request, reply, header  the Server, both packets and the Header of the reply
#     t1, t2, t3, t4                  Unix times
#     delay                           may be slightly negative if the clocks count in large steps
#     dispersion                      how far steps and drift widen the interval at each end
#     low, high                       the ends of the interval: low <= real offset <= high
#     offset                          the middle of the interval, which estimates the real offset
#     server_error                    how wrong the server's clock may be, according to the reply
Sample = namedtuple(
    "Sample",
    "server request reply header t1 t2 t3 t4 delay dispersion low high offset server_error",
)

# Linux can timestamp each packet as it arrives, a few microseconds before Python sees it.
SO_TIMESTAMPNS = 35  # the option that asks for this; Python's socket module has no name for it
TIMESPEC = struct.Struct("@ll")  # the timestamp, a Unix time, as two C longs: seconds and ns


def ask_for_timestamps(sock):
    """Ask Linux to timestamp incoming packets. Without timestamps, receive() reads the clock."""
    if sys.platform == "linux":
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        except OSError:
            pass


def receive(sock, t1):
    """Return the next packet and T4, the Unix time in ns at which it arrived.

    recvmsg() returns a packet and its ancillary data, a list of tuples (level, type, data). Here
    the list is empty or holds only the timestamp, because nothing else was asked for.
    """
    if sys.platform != "linux":
        return sock.recv(2**16), time.time_ns()
    packet, ancillary, _, _ = sock.recvmsg(2**16, socket.CMSG_SPACE(TIMESPEC.size))
    t4 = time.time_ns()
    for _, _, data in ancillary:
        if len(data) == TIMESPEC.size:
            whole, ns = TIMESPEC.unpack(data)
            timestamp = whole * SECOND + ns
            # The packet arrived between T1 and now. Any other timestamp is from another clock, as
            # under libfaketime, and cannot be compared with T1.
            if t1 <= timestamp <= t4:
                t4 = timestamp
    return packet, t4


class Exchange:
    """Send one request, and recognize its reply among the packets that arrive.

    Call send_request(), then receive_reply() for each packet that arrives. Both may raise OSError,
    which begin() and finish() turn into a failure. ask() closes the socket.
    """

    def __init__(self, server):
        self.server = server
        self.sock = None
        self.ignored = 0  # the number of packets received that were not the reply
        self.failure = None  # a Failure, once the exchange has failed

    def send_request(self):
        """Open a socket, read the clock (T1) and send the request."""
        # The request has leap indicator 0, version 4 and mode 3, then zeros, then as the transmit
        # timestamp random bits, since the server does not need T1 (RFC 4330, section 5). The server
        # sends the bits back, so only someone who saw the request can forge a reply.
        self.random_bits = os.urandom(8)
        self.request = bytes([0b00_100_011]) + bytes(39) + self.random_bits
        self.sock = socket.socket(self.server.family, socket.SOCK_DGRAM)
        self.sock.connect(self.server.address)  # the kernel drops packets from any other address
        ask_for_timestamps(self.sock)
        self.t1 = time.time_ns()
        self.sock.send(self.request)

    def receive_reply(self):
        """Read the next packet. Return the Sample, or None if the packet is not the reply."""
        t1 = self.t1
        reply, t4 = receive(self.sock, t1)
        # Bytes 24 to 31 of a reply, the originate timestamp, are the random bits.
        if len(reply) < 48 or reply[0] & 0b111 != 4 or reply[24:32] != self.random_bits:
            self.ignored += 1  # perhaps forged or damaged; the genuine reply may still arrive
            return None
        header = unpack(reply)
        t2, t3 = to_unix_ns(header.receive_timestamp), to_unix_ns(header.transmit_timestamp)
        offset = ((t2 - t1) + (t3 - t4)) // 2
        delay = (t4 - t1) - (t3 - t2)
        # Each end of the interval is a reading of one clock minus a reading of the other. Each
        # reading may be off by one step, so add both steps.
        server_step = to_ns(2.0**header.precision)
        own_step = to_ns(time.get_clock_info("time").resolution)
        # The clocks may drift apart between T1 and T4, and T4 - T1 may itself be one step short.
        drift = max_drift(t4 - t1 + own_step)
        dispersion = server_step + own_step + drift
        low = (t3 - t4) - dispersion
        high = (t2 - t1) + dispersion
        # The server bounds its own error in the same way, by half its delay to the reference clock
        # (whatever its sign) plus all other errors. Both header fields are in units of 2^-16 s.
        server_error = to_ns((abs(header.root_delay) / 2 + header.root_dispersion) / 2**16)
        return Sample(
            self.server, self.request, reply, header, t1, t2, t3, t4,
            delay, dispersion, low, high, offset, server_error,
        )  # fmt: skip


# ---- Failures, and samples that are rejected
class Failure(Exception):
    """Describe what went wrong. Some functions return a Failure; others raise it."""


class KissOfDeath(Failure):
    """Say that a server sent a code instead of the time, and must not be asked again."""


def seconds(ns, sign=""):
    """Format ns as seconds with nine decimals and, if ns >= 0, sign in front."""
    whole, decimals = divmod(abs(ns), SECOND)
    return f"{'-' if ns < 0 else sign}{whole}.{decimals:09d}"


def root_distance(sample):
    """Return half the interval's width plus the server's own error, in ns (RFC 5905, A.5.5.2)."""
    return sample.high - sample.offset + sample.server_error


KISS_CODES = {  # the codes in RFC 5905, section 7.4, figure 13, that a simple client may receive
    "DENY": "access denied by the server",
    "RSTR": "access denied by the server's policy",
    "RATE": "too many requests",
    "INIT": "the server's clock is not yet synchronized",
    "STEP": "the server's clock was just set",
}


def check(sample):
    """Return the Failure or KissOfDeath that rejects a sample, or None if the sample is good."""
    header, reason = sample.header, None
    if header.stratum == 0 and any(header.reference_id):  # RFC 4330, section 8
        code = header.reference_id.rstrip(b"\0").decode("latin-1")
        meaning = KISS_CODES.get(code, "a code unknown to this client")
        reason = f"the server replied with the kiss-o'-death code {code!a} ({meaning})"
        return KissOfDeath(f"{sample.server.name}: {reason}, so the client will not ask again")
    # Unless another RFC is named, the sections are those of RFC 5905.
    if not 1 <= header.version <= 4:  # section 9.2, and RFC 4330, section 5
        reason = f"the reply uses NTP version {header.version}, but the client supports only 1 to 4"
    elif header.leap == 3 or not 1 <= header.stratum <= 15:  # section 7.3, figures 9 and 11
        state = f"leap indicator {header.leap}, stratum {header.stratum}"
        reason = f"the server's clock is not synchronized ({state})"
    elif header.receive_timestamp == 0 or header.transmit_timestamp == 0:  # section 6
        reason = "the reply lacks a receive or transmit timestamp"
    elif sample.t3 < sample.t2 - to_ns(2.0**header.precision):  # section 6 allows one step
        reason = f"the server's clock went back by {seconds(sample.t2 - sample.t3)} s"
    elif sample.high <= sample.low:  # the width is delay + 2 * dispersion
        reason = "the server reports that it held the request longer than the whole exchange took"
        reason += " (perhaps this computer's clock was set back)"
    elif sample.server_error >= 16 * SECOND:  # A.5.1.1
        reason = f"by its own account, the server may be wrong by {seconds(sample.server_error)} s"
    elif root_distance(sample) >= 16 * SECOND:
        reason = f"the margin of error is {seconds(root_distance(sample))} s, and the limit is 16 s"
        reason += " (perhaps this computer's clock was set forward)"
    if reason:
        return Failure(f"{sample.server.name}: {reason}; if this persists, try another server")
    return None


# ---- Explanations (-v, --decode)
LEAPS = [  # RFC 5905, section 7.3, figure 9
    "no warning",
    "the month's last minute has 61 s",
    "the month's last minute has 59 s",
    "clock not synchronized",
]


def utc(unix_ns):
    """Format a Unix time in ns as a UTC date and time."""
    whole, ns = divmod(unix_ns, SECOND)
    return f"{datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=whole)}.{ns:09d} UTC"


def timestamp_lines(timestamp):
    """Format an NTP timestamp as two lines, the seconds and the date."""
    if timestamp == 0:
        return "0:", "not set"
    unix_ns = to_unix_ns(timestamp)
    return f"{seconds(unix_ns + UNIX_EPOCH * SECOND)} s since the prime epoch:", utc(unix_ns)


def dissect(packet):
    """Format a packet's header: its words, as xxd -g 4 shows them, and what each field means."""
    word = [packet[at : at + 4].hex() for at in range(0, 48, 4)]
    header = unpack(packet)
    leap, version, mode, stratum, poll, precision, root_delay, root_dispersion, *_ = header
    address = ".".join(map(str, header.reference_id))
    letters = ascii(header.reference_id)[1:]  # without the b of b'GPS'
    reference, reference_date = timestamp_lines(header.reference_timestamp)
    receive, receive_date = timestamp_lines(header.receive_timestamp)
    transmit, transmit_date = timestamp_lines(header.transmit_timestamp)
    if mode == 3 and header.transmit_timestamp:
        transmit, transmit_date = "a time or random bits,", "which the server sends back"
    return f"""\
{"Request" if mode == 3 else "Reply"}, {len(packet)} bytes:
 0  {word[0]}  leap indicator      {leap:02b}...... = {leap}: {LEAPS[leap]}
              version             ..{version:03b}... = {version}
              mode                .....{mode:03b} = {mode} (3: request, 4: reply)
              stratum             {stratum} (1: reference clock, 16: not synchronized)
              poll                {poll}: 2^{poll} s = {2.0**poll:.3g} s
              precision           {precision}: 2^{precision} s = {2.0**precision:.3g} s
 4  {word[1]}  root delay          {root_delay} * 2^-16 s = {root_delay / 2**16:.6f} s
 8  {word[2]}  root dispersion     {root_dispersion} * 2^-16 s = {root_dispersion / 2**16:.6f} s
12  {word[3]}  reference ID        {address} or {letters}
16  {word[4]}  reference timestamp {reference}
20  {word[5]}                      {reference_date}
24  {word[6]}  originate timestamp copied from the transmit timestamp of the
28  {word[7]}                      request that this packet answers (0: none)
32  {word[8]}  receive timestamp   {receive}
36  {word[9]}                      {receive_date}
40  {word[10]}  transmit timestamp  {transmit}
44  {word[11]}                      {transmit_date}"""


def explain(sample):
    """Draw T1 to T4 on the two clocks; then show the formulas and both packets."""
    packets = f"{dissect(sample.request)}\n\n{dissect(sample.reply)}\n"
    if sample.header.receive_timestamp == 0 or sample.header.transmit_timestamp == 0:
        return packets  # without these times, the rest would be meaningless
    t1, t2, t3, t4 = (utc(ns).split()[1] for ns in (sample.t1, sample.t2, sample.t3, sample.t4))
    there, back = sample.t2 - sample.t1, sample.t3 - sample.t4
    half_delay = sample.high - sample.offset - sample.dispersion  # delay / 2, rounded up
    return f"""\
                     T2 = {t2}     T3 = {t3}
server's clock  -----+---------------------------+------------------------->
                    /                             \\
           request /                               \\ reply
                  /                                 \\
this computer  --+-----------------------------------+--------------------->
                 T1 = {t1}             T4 = {t4}

offset = ((T2 - T1) + (T3 - T4)) / 2
       = (({seconds(there, "+")}) + ({seconds(back, "+")})) / 2 s
       = {seconds(sample.offset, "+")} s

delay  = (T4 - T1) - (T3 - T2)
       = {seconds(sample.t4 - sample.t1)} - {seconds(sample.t3 - sample.t2)} s
       = {seconds(sample.delay)} s

root distance = delay / 2 + dispersion + (root delay / 2 + root dispersion)
  = {seconds(half_delay)} + {seconds(sample.dispersion)} + {seconds(sample.server_error)} s
  = {seconds(root_distance(sample))} s

{packets}"""


# ---- One sample
# Each address of a name counts as a server. A round has 8 turns of at most 0.25 s, with server 0
# asked in turn 0, server 1 in turn 1, and so on. In every turn, the client listens to all the
# servers that it has asked. A turn ends early only if all of these have failed. So a silent server
# is asked again after 2 s; asking sooner would be impolite (RFC 5905, section 13.2).
TURNS = 8  # so at most 8 servers are asked
TURN = 0.25  # in seconds, the delay between attempts that RFC 8305 recommends for TCP


def failure_from(server, error):
    """Return the Failure that describes an OSError from a server's socket."""
    if isinstance(error, (ConnectionRefusedError, ConnectionResetError)):  # ICMP port unreachable
        reason = "nothing is listening on this UDP port, or a firewall rejects packets"
    elif error.errno in (errno.EMFILE, errno.ENFILE, errno.EAFNOSUPPORT):
        reason = f"cannot open a socket: {error.strerror}"
    else:
        reason = f"{error.strerror}; check the address, the network and its firewalls"
    return Failure(f"{server.name}: {reason}")


def begin(server):
    """Return a new Exchange whose request was sent, or whose failure says why it was not."""
    exchange = Exchange(server)
    try:
        exchange.send_request()
    except OSError as error:
        exchange.failure = failure_from(server, error)
    return exchange


def finish(exchange, verbose):
    """Read the next packet. If verbose, explain the reply. Return the Sample if it is good.

    Otherwise, return None; the exchange then has a failure or is still waiting for the reply.
    """
    sample = None
    try:
        sample = exchange.receive_reply()
    except OSError as error:
        exchange.failure = failure_from(exchange.server, error)
    if sample:
        if verbose:
            print(explain(sample), flush=True)
        exchange.failure = check(sample)
    return None if exchange.failure else sample


def listen(exchanges, turn_ends, verbose):
    """Return the first good Sample that arrives before turn_ends, a time.monotonic() value.

    Return None if no good Sample arrives by then, or as soon as every exchange has failed.
    """
    while True:
        waiting = {exchange.sock: exchange for exchange in exchanges if not exchange.failure}
        if not waiting:
            return None
        time_left = turn_ends - time.monotonic()
        # After turn_ends, look once, as packets may have arrived while the client was suspended.
        arrived, _, _ = select.select(list(waiting), [], [], max(0, time_left))
        for sock in arrived:
            sample = finish(waiting[sock], verbose)
            if sample:
                return sample
        if time_left <= 0:
            return None


def why_no_sample(servers, exchanges):
    """Return one Failure with all the reasons, or a KissOfDeath if the failures include one."""
    failures = [exchange.failure for exchange in exchanges if exchange.failure]
    reasons = list(dict.fromkeys(map(str, failures)))  # each reason once
    silent = [exchange for exchange in exchanges if not exchange.failure]
    if silent:
        names = ", ".join(dict.fromkeys(exchange.server.name for exchange in silent))
        ignored = sum(exchange.ignored for exchange in silent)
        guess = "perhaps the server is down or busy, a packet was lost or a firewall blocks UDP"
        if ignored:
            guess = f"other packets ignored: {ignored}; is an NTP server running there?"
        reasons.append(f"no reply in time from {names} ({guess})")
    asked = {exchange.server for exchange in exchanges}
    not_asked = ", ".join(server.name for server in servers if server not in asked)
    if not_asked:
        reasons.append(f"servers not asked: {not_asked}")
    kind = KissOfDeath if any(isinstance(one, KissOfDeath) for one in failures) else Failure
    return kind(" | ".join(reasons))


def ask(servers, args):
    """Return the first good Sample, or a Failure if there is none.

    Every exchange stays open until it fails or the time is up, so a late reply still counts.
    A server is not asked again once an exchange with it has failed.
    """
    deadline = time.monotonic() + args.timeout
    exchanges = []
    try:
        for turn in itertools.cycle(range(TURNS)):
            waiting = any(not exchange.failure for exchange in exchanges)
            failed = {exchange.server for exchange in exchanges if exchange.failure}
            to_ask = [server for server in servers[:TURNS] if server not in failed]
            if time.monotonic() >= deadline or not (waiting or to_ask):
                return why_no_sample(servers, exchanges)
            if turn < len(servers) and servers[turn] in to_ask:
                exchanges.append(begin(servers[turn]))
            sample = listen(exchanges, min(time.monotonic() + TURN, deadline), args.verbose)
            if sample:
                return sample
    finally:
        for exchange in exchanges:
            if exchange.sock:
                exchange.sock.close()


# ---- Several samples
def overlap(samples, narrowest):
    """Return narrowest with its interval replaced by the overlap of all intervals at its T4.

    server_error becomes the largest of all, because several servers may share an address (anycast,
    load balancers). The root distance follows from the interval and server_error; delay, dispersion
    and header stay the narrowest sample's. Raise Failure if there is no overlap.
    """
    low = max(sample.low - max_drift(sample.t4 - narrowest.t4) for sample in samples)
    high = min(sample.high + max_drift(sample.t4 - narrowest.t4) for sample in samples)
    if low > high:
        reason = "a clock was adjusted or drifts too fast, or several servers share the address"
        raise Failure(f"the samples contradict each other; perhaps {reason}")
    error = max(sample.server_error for sample in samples)
    return narrowest._replace(low=low, high=high, offset=(low + high) // 2, server_error=error)


def column(ns, first_sample):
    """Return the column for ns in a drawing of 25 columns; first_sample fills columns 6 to 18."""
    at = 6 + 12 * (ns - first_sample.low) // (first_sample.high - first_sample.low)
    return min(max(at, 0), 24)


def draw(label, sample, first_sample):
    """Draw a sample's interval, followed by its middle and half its width in s."""
    left, right = column(sample.low, first_sample), column(sample.high, first_sample)
    row = [" "] * 25
    row[left : right + 1] = "-" * (right - left + 1)
    for at in (left, right):  # columns 0 and 24 also stand for everything beyond them
        row[at] = "<" if at == 0 else ">" if at == 24 else "|"
    half_width = seconds(sample.high - sample.offset)
    return f"{label:11} {''.join(row)} {seconds(sample.offset, '+')} +- {half_width} s"


def facts(sample):
    """Return a sample's fields for a line of --json output. Durations are in s."""
    header = sample.header
    return {
        "address": sample.server.host,
        "port": sample.server.address[1],
        "leap": header.leap,
        "stratum": header.stratum,
        "precision": 2.0**header.precision,
        "reference_id": header.reference_id.hex(),
        "root_delay": header.root_delay / 2**16,
        "root_dispersion": header.root_dispersion / 2**16,
        "t1": seconds(sample.t1),  # t1 to t4 are text, because a JavaScript number loses digits
        "t2": seconds(sample.t2),
        "t3": seconds(sample.t3),
        "t4": seconds(sample.t4),
        "offset": sample.offset / SECOND,
        "delay": sample.delay / SECOND,
        "dispersion": sample.dispersion / SECOND,
        "root_distance": root_distance(sample) / SECOND,
    }


def print_json(args, outcomes, number, **more):
    """Print one line of JSON about one sample, or about the whole run if number is None."""
    import json  # only when needed, because loading it takes time

    lost = sum(isinstance(outcome, Failure) for outcome in outcomes)
    line = {"server": args.server, "sample": number, "samples": len(outcomes) - lost, "lost": lost}
    print(json.dumps({**line, **more}), flush=True)


def warn(text):
    """Print a line to stderr. If that is impossible, the exit status still reports an error."""
    try:
        sys.stderr.write(f"ntp_client.py: {text}\n")
        sys.stderr.flush()
    except (AttributeError, OSError):  # sys.stderr is None if it was closed
        pass


def print_outcome(args, outcomes):
    """Print the latest outcome, either a Sample or, as a warning, a Failure."""
    number, outcome = len(outcomes), outcomes[-1]
    if isinstance(outcome, Failure):
        warn(f"warning: sample {number} was lost: {outcome}")
        if args.json:
            print_json(args, outcomes, number, error=str(outcome))
    elif args.json:
        print_json(args, outcomes, number, **facts(outcome))
    else:
        print(draw(f"sample {number}", outcome, outcomes[0]), flush=True)


def take_samples(servers, args, outcomes):
    """Append each outcome, a Sample or a Failure, to the list outcomes, which survives a Ctrl-C.

    The run ends early if the first outcome is a Failure or a later outcome is a KissOfDeath.
    """
    while len(outcomes) < args.count:
        if outcomes:
            time.sleep(args.pause)
        outcome = ask(servers, args)
        outcomes.append(outcome)
        if isinstance(outcomes[0], Failure):
            return
        servers = [outcomes[0].server]  # stay with the server that answered
        if args.count > 1:
            print_outcome(args, outcomes)
        if isinstance(outcome, KissOfDeath):
            return


# ---- The result
def print_result(args, outcomes):
    """Print the combined result. Raise Failure if there are no samples or they do not overlap."""
    samples = [outcome for outcome in outcomes if isinstance(outcome, Sample)]
    if not samples:
        raise outcomes[0]  # the only outcome, a Failure
    narrowest = min(samples, key=lambda sample: sample.high - sample.low)
    number = outcomes.index(narrowest) + 1
    result = overlap(samples, narrowest)  # T4 and the delay come from the narrowest sample
    if args.json:
        print_json(args, outcomes, None, narrowest=number, **facts(result))
        return
    reply, whose = "the reply", ""
    if args.count > 1:
        reply, whose = f"reply {number}", f" (sample {number})"
        lost, age = len(outcomes) - len(samples), round((samples[-1].t4 - result.t4) / SECOND)
        print(draw("overlap", result, samples[0]))
        print(f"Samples:         {len(samples)} good, {lost} lost")
        print(f"Narrowest:       sample {number}, {age} s before the last good one")
    distance = root_distance(result)
    if abs(result.offset) <= distance:  # this clock may be right
        verdict = "within the margin of error"
    else:
        verdict = f"so this clock is {'behind' if result.offset > 0 else 'ahead of'} the server's"
    leap = f"\nLeap second:     {LEAPS[result.header.leap]}" if result.header.leap else ""
    print(f"""\
Server:          {ascii(args.server)[1:-1]}
Address:         {result.server.name}, stratum {result.header.stratum}
Server's clock:  {utc(result.t4 + result.offset)}, when {reply} arrived
This computer:   {utc(result.t4)}, at the same moment
Offset:          {seconds(result.offset, "+")} s, {verdict}
Delay:           {seconds(result.delay)} s, the total travel time of both packets{whose}
Margin of error: {seconds(distance)} s (root distance), if the server tells the truth{leap}""")


# ---- The command line
def read_packet(name):
    """Return the packet in the named file (stdin for -). Raise Failure if there is no packet."""
    try:
        with open(0 if name == "-" else name, "rb") as file:
            packet = file.read(2**16)
    except OSError as error:
        raise Failure(f"cannot read {name!a}: {error.strerror}")
    if not packet:
        raise Failure(f"{name!a} is empty; perhaps no reply arrived")
    if packet.isascii() and b"\0" not in packet:  # almost every NTP packet contains a zero byte
        raise Failure(f"{name!a} is text; if it is a hex dump, convert it to bytes with xxd -r")
    mode = packet[0] & 0b111
    if len(packet) < 48 or mode not in (3, 4):
        what = f"{len(packet)} bytes, mode {mode}"
        raise Failure(f"{name!a} is not an NTP request or reply ({what})")
    return packet


def check_arguments(parser, args):
    """Exit with a usage error if the arguments are invalid."""
    if "/" in args.server or "[" in args.server or args.server.count(":") == 1:  # IPv6 has more
        parser.error(f"{args.server!a}: give the host and the port as two arguments")
    port = int(args.port) if re.fullmatch("[0-9]{1,5}", args.port) else 0
    for name, value, low, high in (
        ("-n", args.count, 1, 10**6),
        ("-i", args.pause, 0, 86_400),
        ("-t", args.timeout, 0.001, 60),
        ("the port", port, 1, 65_535),
    ):
        if not low <= value <= high:  # nan also fails this test
            parser.error(f"{name} must be a number from {low} to {high}")


def read_command_line():
    """Return the arguments. Raise SystemExit after --help, or if the arguments are invalid."""
    parser = argparse.ArgumentParser(
        description="Compare this computer's clock with an NTP server's, without setting either.",
        epilog="Exit status: 0 on success, 1 on failure, 2 on a usage error, 130 on Ctrl-C. To try "
        "the client without a network, run tests/fake_ntp_server.py ./ntp_client.py -n 8",
        allow_abbrev=False,
        # Without a width, argparse would import shutil at every start to find the terminal's width.
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=80),
    )
    family, output = parser.add_mutually_exclusive_group(), parser.add_mutually_exclusive_group()
    family.add_argument("-4", dest="ipv4", action="store_true", help="use IPv4 only")
    family.add_argument("-6", dest="ipv6", action="store_true", help="use IPv6 only")
    add = parser.add_argument
    add("-n", dest="count", type=int, default=1, metavar="N", help="take N samples (default: 1)")
    add("-i", dest="pause", type=float, default=2, metavar="SECONDS",
        help="pause between samples (default: 2)")  # fmt: skip
    add("-t", dest="timeout", type=float, default=6, metavar="SECONDS",
        help="time limit per sample (default: 6)")  # fmt: skip
    output.add_argument("-v", dest="verbose", action="store_true", help="show formulas and packets")
    output.add_argument("--json", action="store_true", help="print JSON, one object per line")
    output.add_argument("--decode", metavar="FILE", help="explain a saved packet (- for stdin)")
    add("server", nargs="?", help="host name or IP address (default: pool.ntp.org)")
    # Not type=int, because for "--typo 1 host" argparse would report the port, not the option.
    add("port", nargs="?", default="123", help="UDP port (default: 123)")
    args = parser.parse_args()
    if args.decode is not None and (args.server is not None or args.count != 1):
        parser.error("--decode cannot be combined with a server or with -n")
    args.server = "pool.ntp.org" if args.server is None else args.server
    check_arguments(parser, args)
    return args


def resolve(args):
    """Return the Servers that args.server resolves to. Raise Failure if there are none."""
    name = os.fsencode(args.server)  # bytes, because for a str Python would load its IDNA tables
    family = socket.AF_INET if args.ipv4 else socket.AF_INET6 if args.ipv6 else socket.AF_UNSPEC
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    servers = []
    try:
        found = socket.getaddrinfo(name, args.port, family, socket.SOCK_DGRAM)
        for af, _, _, _, address in dict.fromkeys(found):  # each address once
            host, port = socket.getnameinfo(address, numeric)  # only formats address
            if host not in ("0.0.0.0", "::"):
                servers.append(Server(af, address, host, f"{host} port {port}"))
    except OSError as error:
        reason = f"{error.strerror}; check the name and the network"
        raise Failure(f"cannot resolve {args.server!a}: {reason}")
    if not servers:  # some networks block a name by giving it these addresses
        raise Failure(f"{args.server!a} resolves only to 0.0.0.0 or ::, so the name may be blocked")
    return servers


def main():
    """Run the client, and return the exit status."""
    args = read_command_line()
    outcomes, status = [], 0
    try:
        if sys.stdout is None:
            raise Failure("standard output is closed")
        if args.decode is not None:
            print(dissect(read_packet(args.decode)))
            return 0
        try:
            take_samples(resolve(args), args, outcomes)
        except KeyboardInterrupt:
            status = 130
        if outcomes:
            print_result(args, outcomes)
        return status
    except Failure as failure:
        warn(f"error: {failure}")
        if args.json:
            print_json(args, outcomes, None, error=str(failure))
        return status or 1  # still 130 after Ctrl-C


if __name__ == "__main__":
    try:
        exit_status = main()
        print(end="", flush=True)  # detect a full disk or a closed pipe here, if not before
    except BrokenPipeError:  # the reader closed the pipe
        exit_status = 1
    except OSError as error:  # from stdout, because network errors have become Failures
        warn(f"error: cannot write the result: {error.strerror}")
        exit_status = 1
    except KeyboardInterrupt:
        exit_status = 130
    # Not sys.exit(), because it would write to the full disk again, and its cleanup takes time.
    os._exit(exit_status)
