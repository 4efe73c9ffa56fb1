#!/usr/bin/env python3
"""Part 5 of the lab: how far is this computer's clock from a server's? It never sets the clock.

    ntp_client.py [-h] [-4 | -6] [-n N] [-i SECONDS] [-t SECONDS]
                  [-v | --json | --decode FILE] [server [port]]

NTP is the Network Time Protocol. A request goes to the server, a reply comes back, and each of the
two computers reads its clock twice:

    T1  the request leaves this computer         T2  the request reaches the server
    T4  the reply reaches this computer          T3  the reply leaves the server

    offset = ((T2 - T1) + (T3 - T4)) / 2         how far the server's clock is ahead of this one
    delay  = (T4 - T1) - (T3 - T2)               how long the two packets were on their way

If the request takes p and the reply q, T2 - T1 is the true offset + p, and T3 - T4 is the true
offset - q. So the first formula gives the true offset + (p - q) / 2. Neither p nor q is negative,
so the error is at most half of p + q, which is the delay. The server's own clock may be wrong as
well, and the server says by how much. Reading clocks adds a little. The sum of these errors is the
root distance: if the server tells the truth, the offset is not wrong by more.

Exit status: 0 it worked, 1 it could not be done, 2 the command line was wrong, 130 Ctrl-C. The
protocol is in RFC 5905 (NTP version 4) and RFC 4330 (SNTP, for simple clients like this one).

exchange(), in the middle, is the protocol on one screen; what it calls stands above it. "The
protocol, shown" and "The command line" can wait.
"""

import argparse
import collections
import datetime
import math
import os
import socket
import struct
import sys
import time

# ---- Times

SECOND = 10**9  # all times in this file are integers, in nanoseconds (ns)

# NTP counts from the prime epoch, 1900-01-01; Unix and Python count from 1970-01-01.
UNIX_EPOCH = 2_208_988_800 * SECOND  # in between: 70 years, 17 of them leap years


def to_unix_ns(timestamp):
    """Return a 64-bit NTP timestamp as Unix time in ns.

    The first 32 bits count seconds since the prime epoch, the other 32 bits parts of 1/2^32 s. In
    2036 the seconds start again at 0: era 1 begins. If the very first bit is 1, which means 2^31 s
    or 68 years, it is a time from 1968 to 2036. Else it is one up to 2104 (RFC 4330, section 3).
    """
    whole, fraction = divmod(timestamp, 2**32)
    if whole < 2**31:  # the first bit is 0
        whole += 2**32
    return whole * SECOND + round(fraction * SECOND / 2**32) - UNIX_EPOCH


def binary_to_ns(number, exponent):
    """Return number * 2^exponent seconds in ns, rounded up."""
    return math.ceil(number * 2.0**exponent * SECOND)


def seconds(ns, sign=""):
    """Return ns in seconds, as text. sign: put before a number that is not negative."""
    return f"{'-' if ns < 0 else sign}{abs(ns) // SECOND}.{abs(ns) % SECOND:09d}"


def utc(unix_ns):
    """Return a Unix time in ns as text: date and time of day, in UTC."""
    whole, ns = divmod(unix_ns, SECOND)
    return f"{datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=whole)}.{ns:09d} UTC"


# ---- Failures, and lines on stderr


class Failure(Exception):
    """Something could not be done; the text says why. status: the exit status."""

    status = 1


class WrongCommandLine(Failure):
    status = 2


class KissOfDeath(Failure):
    """The server does not want to be asked again (see kiss_of_death)."""


def printable(text):
    """Return text with all but printable ASCII escaped: terminals obey control characters."""
    return "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text)


def tell(message):
    """Print a line on stderr. If that is closed or full, there is still the exit status."""
    try:
        sys.stderr.write(f"ntp_client.py: {printable(message)}\n")
        sys.stderr.flush()
    except (AttributeError, OSError):
        pass


# ---- The packet

# RFC 5905, section 7.3, figure 8: twelve words of 32 bits. The letters are those of struct.
#
#     |LI| VN |Mode|  Stratum  |   Poll    | Precision |   B B b b
#     |                   Root Delay                    |   i
#     |                 Root Dispersion                 |   I
#     |                  Reference ID                   |   4s
#     |         Reference Timestamp (two words)         |   Q
#     |         Originate Timestamp (two words)         |   Q
#     |          Receive Timestamp (two words)          |   Q
#     |         Transmit Timestamp (two words)          |   Q
#
# The first byte holds LI, VN and mode, in 2, 3 and 3 bits.
LAYOUT = struct.Struct(">BBbbiI4sQQQQ")
Header = collections.namedtuple(
    "Header",
    [
        "leap",  # LI, the leap indicator: is a leap second ahead? 3: not synchronized
        "version",  # VN
        "mode",  # 3: a request; 4: a reply
        "stratum",  # 1: has a reference clock (GPS, say); 2: asks a server at stratum 1, and so on
        "poll",  # how often to ask: every 2^poll s
        "precision",  # the server's clock counts in steps of 2^precision s
        "root_delay",  # in 2^-16 s: the delay to its reference clock, the root, and back
        "root_dispersion",  # in 2^-16 s: all other errors on that way
        "reference_id",  # where the server's time is from
        "reference",  # when the server's clock was last set; 0: not known
        "originate",  # the request's transmit timestamp, sent back
        "receive",  # T2
        "transmit",  # T3
    ],
)
MAX_PACKET = 65_507  # bytes: the longest that UDP can carry


def new_request(random_bits):
    """Return a request: version, mode, and random_bits (8 bytes) as its transmit timestamp.

    The server sends them back as the originate timestamp. So only somebody who has seen the request
    can forge a reply. T1 stays here: a request tells nothing of its sender (RFC 8633, section 5.1).
    """
    return bytes([0b00_100_011]) + bytes(39) + random_bits  # leap 0, version 4, mode 3 (client)


def unpack(packet):
    """Return the Header in the first 48 bytes of packet."""
    first_byte, *rest = LAYOUT.unpack_from(packet)
    return Header(first_byte >> 6, first_byte >> 3 & 0b111, first_byte & 0b111, *rest)


def reference_id(header):
    """Return where the server's time is from: letters at stratum 0 and 1, else an address."""
    if header.stratum < 2:
        return printable(header.reference_id.rstrip(b"\0").decode("latin-1"))
    return ".".join(map(str, header.reference_id))


# ---- One sample

Sample = collections.namedtuple(
    "Sample",
    [
        "address",  # the server's
        "reply",  # the packet
        "header",  # the Header in it
        "started",  # T1 on this computer's second clock, perf_counter, which nobody can set
        "t1",  # Unix time in ns, as t2 to t4
        "t2",
        "t3",
        "t4",
        "offset",  # in ns; positive: the server's clock is ahead
        "delay",  # in ns
        "errors",  # what can make the offset wrong, and by how many ns: possible_errors()
    ],
)


def drift(elapsed):
    """Return how far clocks drift apart in elapsed ns.

    RFC 5905 assumes 15 parts in a million (section 7.2: PHI).
    """
    return math.ceil(elapsed * 15 / 1_000_000)


def possible_errors(header, delay, resolution, elapsed, disagreement):
    """Return what can make the offset wrong, and by how many ns (RFC 5905, appendix A.5.5.2).

    The sum of all is the root distance. The sum of the last four is the dispersion of this
    exchange.
    """
    root_delay = abs(header.root_delay)  # some old servers send a negative one
    return {
        "delay / 2": math.ceil(delay / 2),  # request and reply may take unequally long
        "root delay / 2": binary_to_ns(root_delay / 2, -16),  # the same on the way to the root
        "root dispersion": binary_to_ns(header.root_dispersion, -16),  # other errors on that way
        "precision": binary_to_ns(1, header.precision),  # a step of the server's clock
        "resolution": resolution,  # a step of this computer's clock
        "drift": drift(elapsed),  # the two may run at different speeds
        "disagreement": disagreement,  # of this computer's two clocks, on how long it took
    }


def measure(address, reply, started, t1, t4, disagreement):
    """Return the Sample of an exchange (RFC 5905, section 8)."""
    header = unpack(reply)
    t2, t3 = to_unix_ns(header.receive), to_unix_ns(header.transmit)
    offset = ((t2 - t1) + (t3 - t4)) // 2
    resolution = max(1, round(time.get_clock_info("time").resolution * SECOND))
    delay = max((t4 - t1) - (t3 - t2), resolution)  # large steps can make it 0 or negative
    errors = possible_errors(header, delay, resolution, t4 - t1, disagreement)
    return Sample(address, reply, header, started, t1, t2, t3, t4, offset, delay, errors)


def dispersion(sample):
    """Return what the clocks may be wrong by in an exchange, in ns (RFC 5905, section 8)."""
    return sum(sample.errors[name] for name in ("precision", "resolution", "drift", "disagreement"))


def root_distance(sample):
    """Return the most that the offset can be wrong by, in ns."""
    return sum(sample.errors.values())


# ---- What is not believed

KISS_CODES = {  # RFC 5905, section 7.4, figure 13: those that a client like this one can meet
    "DENY": "access denied by the server",
    "RSTR": "access denied by policy",
    "RATE": "asked too often",
    "INIT": "not yet synchronized",
    "STEP": "its clock was just set",
}


def not_the_answer(packet, requests):
    """Return why packet answers none of the requests (a dict by random bits), or None."""
    if len(packet) < LAYOUT.size:
        return "too short"
    if packet[0] & 0b111 != 4:  # RFC 4330, section 5, check 4
        return "not in mode 4 (server)"
    if packet[24:32] not in requests:  # originate timestamp: RFC 5905, section 8
        return "without a request's random bits"
    return None


def kiss_of_death(header):
    """Return what a kiss-o'-death says, a reply that means "stop asking". Return None for others.

    It has stratum 0 and a code as reference ID. Without a code, the server just does not know the
    time. Codes that begin with X are experiments, to be ignored (RFC 5905, section 7.4).
    """
    if header.stratum > 0 or header.reference_id.startswith((b"\0", b"X")):
        return None
    code = reference_id(header)
    return f"kiss-o'-death {code}: {KISS_CODES.get(code, 'not known here')}"


def refusal(sample):
    """Return why a reply must not be used, or None."""
    header, distance = sample.header, root_distance(sample)
    if not 1 <= header.version <= 4:  # RFC 5905, section 9.2
        return f"it answers in NTP version {header.version}, which does not exist"
    if header.leap == 3:  # section 7.3, figure 9
        return "its clock is not synchronized (leap indicator 3)"
    if header.stratum in (0, 16):  # section 7.3, figure 11
        return f"its clock is not synchronized (stratum {header.stratum})"
    if header.stratum > 16:  # section 7.3, figure 11
        return f"its stratum, {header.stratum}, is reserved"
    if header.transmit == 0:  # RFC 4330, section 5, check 4
        return "its transmit timestamp is missing"
    if header.receive == 0:  # RFC 5905, section 6
        return "its receive timestamp is missing"
    if distance >= 16 * SECOND:  # the limit in appendix A.5.1.1
        return f"its root distance, {seconds(distance)} s, is not below 16 s"
    # Times that are less than a step of its clock apart may be in the wrong order (section 6).
    step = sample.errors["precision"]
    if sample.t3 < sample.t2 - step:  # section 8
        return f"its clock ran backwards, by {seconds(sample.t2 - sample.t3)} s from T2 to T3"
    if header.reference and to_unix_ns(header.reference) > sample.t3 + step:  # appendix A.5.1.1
        return "its clock was last set in the future (reference after transmit timestamp)"
    # More than the clocks' errors explain:
    at_server, in_all = sample.t3 - sample.t2, sample.t4 - sample.t1
    if at_server > in_all + dispersion(sample):  # RFC 4330, section 5
        return "its times cannot be right: it took longer from T2 to T3 than from T1 to T4"
    return None


# ---- One exchange

# If asked to, Linux notes when each packet arrives: some microseconds before Python gets it.
SO_TIMESTAMPNS = 35  # the option that asks for it
TIMESPEC = struct.Struct("@ll")  # the note: two C longs, seconds and ns


def prepare(sock):
    """Ask the kernel for these notes, and for room for many packets: forgeries may pour in."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        if sys.platform == "linux":
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        pass  # then there is less room, and receive() reads the clock


def receive(sock):
    """Return the next packet and its arrival in Unix ns: the kernel's note, or now.

    recvmsg() returns such notes beside the packet; prepare() has asked for no others. Raises
    socket.timeout.
    """
    if sys.platform != "linux":
        return sock.recv(MAX_PACKET), time.time_ns()
    packet, notes, *_ = sock.recvmsg(MAX_PACKET, socket.CMSG_SPACE(TIMESPEC.size))
    arrival = time.time_ns()
    for _, _, note in notes:
        if len(note) == TIMESPEC.size:  # not cut off
            whole, ns = TIMESPEC.unpack(note)
            arrival = whole * SECOND + ns
    return packet, arrival


def wait_for_answer(sock, requests, ignored, until):
    """Return the first packet that answers one of the requests, and its arrival in Unix ns.

    Return None when perf_counter_ns() has reached until. Count other packets in ignored: a forger
    can neither answer for the server nor prolong the wait.
    """
    while True:
        left = until - time.perf_counter_ns()
        if left <= 0:
            return None
        sock.settimeout(min(left / SECOND, 0.5))  # on Windows, Ctrl-C works only between waits
        try:
            packet, arrival = receive(sock)
        except socket.timeout:
            continue
        why = not_the_answer(packet, requests)
        if why is None:
            return packet, arrival
        ignored[why] += 1


def no_reply(timeout, answered, ignored):
    """Return what to say if no reply came. answered: whether this server has answered before."""
    guess = "does a firewall block this UDP port?"
    if answered:
        guess = "the packet was lost, or the server limits its rate"
    counts = ", ".join(f"{count} {why}" for why, count in ignored.items())
    others = f"; packets ignored: {counts}" if counts else ""
    return f"no reply within {timeout:g} s ({guess}){others}"


def ask(sock, timeout, answered):
    """Send requests until one is answered. Return the answer, and its started, t1 and t4.

    Networks lose packets. So after 1 s without an answer another request leaves. The next pause is
    twice as long, and so on until timeout (s) is over. Any of the requests may be answered.
    """
    requests = {}  # random bits: (started, t1)
    ignored = collections.Counter()
    pause = SECOND
    now = time.perf_counter_ns()
    deadline = now + round(timeout * SECOND)
    while now < deadline:
        if requests and sys.stderr and sys.stderr.isatty():
            tell(f"no reply from {sock.getpeername()[0]} yet: asking again")
        random_bits = os.urandom(8)
        request = new_request(random_bits)
        requests[random_bits] = time.perf_counter_ns(), time.time_ns()
        sock.send(request)
        answer = wait_for_answer(sock, requests, ignored, min(now + pause, deadline))
        if answer:
            packet, t4 = answer
            started, t1 = requests[packet[24:32]]
            return packet, started, t1, t4
        pause *= 2
        now = time.perf_counter_ns()
    raise Failure(no_reply(timeout, answered, ignored))


def clocks_disagree_by(started, t1):
    """Return by how many ns this computer's two clocks disagree on the time since T1.

    time_ns() can be set, and perf_counter_ns() cannot.
    """
    elapsed = time.perf_counter_ns() - started
    return abs((time.time_ns() - t1) - elapsed)


def exchange(server, timeout, answered):
    """Ask a server (address family, socket address) for the time. Return the Sample.

    Raises Failure with the reason. answered: whether this server has answered before.
    """
    family, address = server
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            prepare(sock)
            sock.connect(address)  # from now on the kernel drops what anybody else sends
            reply, started, t1, t4 = ask(sock, timeout, answered)
    except (ConnectionRefusedError, ConnectionResetError):  # an ICMP message said so
        raise Failure("nothing is listening on this UDP port, or a firewall rejects it")
    except OSError as error:
        why = error.strerror
        raise Failure(f"cannot reach it: {why}; check the network and this computer's firewall")

    disagreement = clocks_disagree_by(started, t1)
    if disagreement > SECOND // 2:  # more than a busy computer explains
        raise Failure("this computer's clock was set while the reply was on its way; try again")
    now = time.time_ns()
    if not t1 <= t4 <= now:  # the kernel's note is wrong, or the clock was set a little
        t4 = now
    sample = measure(address, reply, started, t1, t4, disagreement)
    kiss = kiss_of_death(sample.header)
    if kiss:
        raise KissOfDeath(f"{kiss}; it is not asked again")
    why = refusal(sample)
    if why:
        raise Failure(f"{why}; ask another server")
    return sample


# ---- Many samples


def picture(sample, first, width):
    """Return the interval from offset - delay / 2 to offset + delay / 2, drawn in width columns.

    |      [-----*-----]      |  the first sample: its interval fills the middle half
    |    [----------*-------->|  a later one, which goes on beyond the end
    """
    columns_per_ns = (width / 2) / first.delay
    centre = width / 2 + (sample.offset - first.offset) * columns_per_ns
    half = sample.delay / 2 * columns_per_ns
    left = math.floor(centre - half)
    middle = math.floor(centre)
    right = math.floor(centre + half)
    row = ""
    for at in range(width):
        if at == 0 and left < 0:
            row += "<"
        elif at == width - 1 and right >= width:
            row += ">"
        elif at == middle:
            row += "*"
        elif at == left:
            row += "["
        elif at == right:
            row += "]"
        else:
            row += "-" if left < at < right else " "
    return row


def show(number, sample, first, n):
    """Print a line about sample number of n, with its picture."""
    text = f"sample {number}:".ljust(len(f"sample {n}:"))
    text += f" offset {seconds(sample.offset, '+')} s, delay {seconds(sample.delay)} s"
    print(f"{text} |{picture(sample, first, 77 - len(text))}|", flush=True)


def attempt(server, args, results):
    """Ask a server once. Append the Sample to results and show it; or the Failure, and tell it."""
    first = next((result for result in results if isinstance(result, Sample)), None)
    try:
        sample = exchange(server, args.t, answered=first is not None)
    except Failure as failure:
        results.append(failure)
        tell(f"error: {server[1][0]} port {server[1][1]}: {failure}")
        return
    results.append(sample)
    if args.n > 1 and not args.json:
        show(len(results), sample, first or sample, args.n)


def first_answer(servers, args):
    """Ask one server after another until one gives a sample. If none does, it is the last.

    Return this server, and the results so far: its Sample or Failure.
    """
    for server in servers:
        results = []
        attempt(server, args, results)
        if isinstance(results[0], Sample):
            break
    return server, results


def aged(result, now):
    """Return a result as it is now: clocks drift on, so the older a Sample, the less it says."""
    if isinstance(result, Failure):
        return result
    return result._replace(errors={**result.errors, "drift": drift(now - result.started)})


def take_samples(servers, args):
    """Return the results that the options ask for: Samples, and Failures for lost ones."""
    server, results = first_answer(servers, args)
    while len(results) < args.n and not isinstance(results[-1], KissOfDeath):
        time.sleep(args.i)
        attempt(server, args, results)
    now = time.perf_counter_ns()
    return [aged(result, now) for result in results]


def contradict(sample, other):
    """Return whether two samples cannot both be right.

    Each may be wrong by its root distance. And the true offset itself may change between them: by
    up to 500 parts in a million, if nothing keeps the clocks in step.
    """
    change = abs(sample.t4 - other.t4) * 500 // 1_000_000
    room = root_distance(sample) + root_distance(other) + change
    return abs(sample.offset - other.offset) > room


def choose(results):
    """Return the sample with the least root distance (RFC 5905, section 10), or None if all failed.

    Raises Failure if another sample contradicts it.
    """
    samples = [result for result in results if isinstance(result, Sample)]
    if not samples:
        return None
    best = min(samples, key=root_distance)
    if any(contradict(best, sample) for sample in samples):
        raise Failure("the samples contradict each other: was one of the clocks set meanwhile?")
    return best


# ---- The result

LEAPS = (  # RFC 5905, section 7.3, figure 9
    "no warning",
    "the last minute has 61 seconds",
    "the last minute has 59 seconds",
    "unknown (clock unsynchronized)",
)


def report(name, best, results):
    """Return the best of the results as text."""
    header, (address, port, *_) = best.header, best.address
    verdict = f"this computer's clock is {'behind' if best.offset > 0 else 'ahead'}"
    if abs(best.offset) <= root_distance(best):
        verdict = "within the possible error"
    text = f"""\
Server:         {printable(name)} ({printable(address)} port {port}), stratum {header.stratum}
Server's clock: {utc(best.t4 + best.offset)}, when the reply arrived
This computer:  {utc(best.t4)}, at the same moment
Offset:         {seconds(best.offset, "+")} s: {verdict}
Delay:          {seconds(best.delay)} s: the round trip, without the server's own time
Root distance:  {seconds(root_distance(best))} s: the most that the offset can be wrong by"""
    if header.leap:
        text += f"\nLeap second:    {LEAPS[header.leap]}"
    if len(results) > 1:
        lost = sum(isinstance(result, Failure) for result in results)
        number = results.index(best) + 1
        text += f"\nSample:         number {number} of {len(results)} counts; lost: {lost}"
    return text


def facts(result):
    """Return what JSON says of a result: t1 to t4 in Unix ns, all else in s."""
    if isinstance(result, Failure):
        return {"lost": str(result)}
    return {
        "lost": None,
        **{name: getattr(result, name) for name in ("t1", "t2", "t3", "t4")},
        "offset": result.offset / SECOND,
        "delay": result.delay / SECOND,
        "dispersion": dispersion(result) / SECOND,
        "root_distance": root_distance(result) / SECOND,
    }


def as_json(name, best, results):
    """Return the best of the results, and all of them, as one JSON object."""
    import json  # here, for loading it takes time

    header = best.header
    everything = {
        "server": printable(name),
        "address": printable(best.address[0]),
        "port": best.address[1],
        "leap": header.leap,
        "version": header.version,
        "stratum": header.stratum,
        "precision": header.precision,  # 2^precision s
        "root_delay": round(header.root_delay / 2**16, 9),
        "root_dispersion": round(header.root_dispersion / 2**16, 9),
        "reference_id": reference_id(header),
        "reference_time": to_unix_ns(header.reference) if header.reference else None,
        **facts(best),
        "sample": results.index(best) + 1,
        "samples": [facts(result) for result in results],
    }
    return json.dumps(everything)


# ---- The protocol, shown

# RFC 5905, section 7.3, figures 10 and 11
MODES = ["reserved", "symmetric active", "symmetric passive", "client", "server", "broadcast"]
MODES += ["NTP control message", "reserved for private use"]
STRATA = ["unspecified or invalid", "primary server", *["secondary server"] * 14]
STRATA += ["unsynchronized", *["reserved"] * 239]


def reference_id_words(header):
    """Return what the reference ID stands for, which depends on the stratum (section 7.3)."""
    text = reference_id(header)
    if header.reference_id == bytes(4):
        return "0: not set"
    if header.stratum == 0:
        return kiss_of_death(header) or f"{text}: no kiss code"
    if header.stratum == 1:
        return f"{text}: its reference clock"
    if header.reference_id.isalpha():  # LOCL, for example, may be meant as letters
        return f"{text}, its server, or {header.reference_id.decode()}, its clock"
    return f"{text}: its source"


def timestamp_words(timestamp, random_bits):
    """Return what a timestamp says, in two parts, to stand beside its two words."""
    if timestamp == 0:
        return "0:", "not set"
    if timestamp == int.from_bytes(random_bits, "big"):
        return "64 random bits, and no time,", "which the reply repeats"
    unix_ns = to_unix_ns(timestamp)
    return f"{seconds(unix_ns + UNIX_EPOCH)} s since the prime epoch:", utc(unix_ns)


def dissect(packet, random_bits=b""):
    """Return a packet as text: each word as xxd -g 4 shows it, the field's name, what it says."""
    mode, size = packet[0] & 0b111, len(packet)
    if mode > 5:
        return f"Packet in mode {mode} ({MODES[mode]}), {size} bytes: another format (RFC 9327)"
    kind = {3: "Request", 4: "Reply"}.get(mode, "Packet, neither request nor reply")
    more = f"\n48  and {size - 48} bytes more: extension fields or a MAC" if size > 48 else ""
    word = [packet[at : at + 4].hex() for at in range(0, 48, 4)]
    it = unpack(packet)
    root_delay, root_dispersion = it.root_delay / 2**16, it.root_dispersion / 2**16
    reference = timestamp_words(it.reference, random_bits)
    originate = timestamp_words(it.originate, random_bits)
    receive = timestamp_words(it.receive, random_bits)
    transmit = timestamp_words(it.transmit, random_bits)
    return f"""\
{kind}, {size} bytes:
 0  {word[0]}  leap indicator      {it.leap:02b}...... = {it.leap}: {LEAPS[it.leap]}
              version             ..{it.version:03b}... = {it.version}
              mode                .....{it.mode:03b} = {it.mode}: {MODES[it.mode]}
              stratum             {it.stratum}: {STRATA[it.stratum]}
              poll                {it.poll}: 2^{it.poll} s = {2.0**it.poll:.3g} s
              precision           {it.precision}: 2^{it.precision} s = {2.0**it.precision:.3g} s
 4  {word[1]}  root delay          {it.root_delay} * 2^-16 s = {root_delay:.6f} s
 8  {word[2]}  root dispersion     {it.root_dispersion} * 2^-16 s = {root_dispersion:.6f} s
12  {word[3]}  reference ID        {reference_id_words(it)}
16  {word[4]}  reference timestamp {reference[0]}
20  {word[5]}                      {reference[1]}
24  {word[6]}  originate timestamp {originate[0]}
28  {word[7]}                      {originate[1]}
32  {word[8]}  receive timestamp   {receive[0]}
36  {word[9]}                      {receive[1]}
40  {word[10]}  transmit timestamp  {transmit[0]}
44  {word[11]}                      {transmit[1]}{more}"""


def arithmetic(sample):
    """Return the four times, drawn between the two clocks, and the formulas with numbers put in."""
    (date1, t1, _), (date2, t2, _) = utc(sample.t1).split(), utc(sample.t2).split()
    t3, t4 = utc(sample.t3).split()[1], utc(sample.t4).split()[1]
    clamped = ", one step of this clock" if sample.delay == sample.errors["resolution"] else ""
    errors = "\n".join(f"  {seconds(ns):>20} s  {name}" for name, ns in sample.errors.items())
    return f"""\
                     T2 = {t2}     T3 = {t3}
server's clock  -----+---------------------------+------------------------->
{date2}          /                             \\
           request /                               \\ reply
                  /                                 \\
this computer  --+-----------------------------------+--------------------->
{date1}       T1 = {t1}             T4 = {t4}

offset = ((T2 - T1) + (T3 - T4)) / 2
       = (({seconds(sample.t2 - sample.t1, "+")}) + ({seconds(sample.t3 - sample.t4, "+")})) / 2 s
       = {seconds(sample.offset, "+")} s

delay  = (T4 - T1) - (T3 - T2)
       = {seconds(sample.t4 - sample.t1)} - {seconds(sample.t3 - sample.t2)} s
       = {seconds(sample.delay)} s{clamped}

root distance = what can make the offset wrong (the last four: the dispersion)
{errors}
= {seconds(root_distance(sample)):>20} s"""


def from_xxd(text):
    """Return the bytes that xxd shows as this text: 00000000: 240206ec 00000042  $......B"""
    packet = b""
    for line in filter(str.strip, text.splitlines()):
        try:
            packet += bytes.fromhex(line.split(": ")[1].split("  ")[0])
        except (IndexError, ValueError):
            raise Failure(f"this line is not from xxd: {line!a:.80}")
    return packet


def read_packet(name):
    """Return the packet in this file (-: stdin), which holds its bytes or xxd's text of them."""
    try:
        with open(0 if name == "-" else name, "rb") as file:
            packet = file.read(2**20)
    except OSError as error:
        raise Failure(f"cannot read {name!a:.200}: {error.strerror}")
    if packet.isascii() and b"\0" not in packet:  # text
        packet = from_xxd(packet.decode())
    size = len(packet)
    if size > 0 and packet[0] & 0b111 > 5:  # another format, of any size: dissect() names it
        return packet
    if not LAYOUT.size <= size <= MAX_PACKET:
        raise Failure(f"{name!a:.200} holds no NTP packet: {size} bytes, and a header has 48")
    return packet


# ---- The command line


def wrong_command_line(message):
    """Raise WrongCommandLine: argparse itself would print more than a line."""
    raise WrongCommandLine(f"{message:.300} (see ntp_client.py --help)")


def check(args):
    """Refuse what makes no sense. Fill in the server, and make a number of the port."""
    if args.more:
        wrong_command_line("too many arguments")
    if args.decode is not None and args.server is not None:
        wrong_command_line("--decode reads a file and asks no server")
    if args.server is None:
        args.server = "pool.ntp.org"
    if args.server.count(":") == 1:
        wrong_command_line(f"{args.server!a:.200}: the port is an argument of its own")
    args.port = int(args.port) if args.port.isdecimal() and len(args.port) < 6 else 0  # 0: wrong
    for name, value, low, high in (
        ("-n", args.n, 1, 10**6),
        ("-i", args.i, 0, 86_400),
        ("-t", args.t, 0.001, 86_400),
        ("the port", args.port, 1, 65_535),
    ):
        if not low <= value <= high:  # this way round, nan is refused too
            wrong_command_line(f"{name} must be a number from {low} to {high}")


def read_command_line():
    """Return what the command line says. Leaves by SystemExit after the help."""
    parser = argparse.ArgumentParser(
        prog="ntp_client.py",
        usage="""ntp_client.py [-h] [-4 | -6] [-n N] [-i SECONDS] [-t SECONDS]
                     [-v | --json | --decode FILE] [server [port]]""",
        description="Tell how far this computer's clock is from an NTP server's, and never set it.",
        epilog="""\
examples:
  ntp_client.py -n 8                             the best of eight samples
  tests/fake_ntp_server.py ./ntp_client.py -v    works without a network""",
        allow_abbrev=False,
        # Without a width, argparse imports a lot to ask for the terminal's.
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=80),
    )
    parser.error = wrong_command_line
    family, how = parser.add_mutually_exclusive_group(), parser.add_mutually_exclusive_group()
    family.add_argument("-4", dest="ipv4", action="store_true", help="use IPv4")
    family.add_argument("-6", dest="ipv6", action="store_true", help="use IPv6")
    add = parser.add_argument
    add("-n", type=int, default=1, help="take N samples; the least root distance counts")
    add("-i", type=float, default=2, metavar="SECONDS", help="pause between samples (default: 2)")
    add("-t", type=float, default=5, metavar="SECONDS", help="wait for a reply (default: 5)")
    how.add_argument("-v", action="store_true", help="show the arithmetic and both packets")
    how.add_argument("--json", action="store_true", help="print a JSON object instead of text")
    how.add_argument("--decode", metavar="FILE", help="show a packet from netcat or xxd (-: stdin)")
    add("server", nargs="?", help="its name or address (default: pool.ntp.org)")
    add("port", nargs="?", default="123", help="its UDP port (default: 123)")
    add("more", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_intermixed_args()  # options may stand between server and port
    check(args)
    return args


def resolve(args):
    """Return each address of the server, with its address family."""
    family = socket.AF_INET if args.ipv4 else socket.AF_INET6 if args.ipv6 else 0
    name = os.fsencode(args.server)  # for a str, Python would load tables of international names
    try:
        found = socket.getaddrinfo(name, args.port, family, socket.SOCK_DGRAM)
    except OSError as error:
        raise Failure(
            f"cannot resolve {args.server!a:.200}: {error.strerror}; check the name and the network"
            " (to try it without one: tests/fake_ntp_server.py ./ntp_client.py)"
        )
    return list(dict.fromkeys((entry[0], entry[4]) for entry in found))  # each of them once


def main():
    """Do what the command line says, and return the exit status."""
    if sys.stdout is None:
        raise Failure("standard output is closed")
    try:
        args = read_command_line()
    except SystemExit:  # after the help
        return 0
    if args.decode is not None:
        print(dissect(read_packet(args.decode)))
        return 0
    results = take_samples(resolve(args), args)
    best = choose(results)
    if best is None:
        return 1
    if args.json:
        print(as_json(args.server, best, results))
        return 0
    print(report(args.server, best, results))
    if args.v:
        random_bits = best.reply[24:32]  # the request's, sent back
        request = new_request(random_bits)
        print("", arithmetic(best), "", dissect(request, random_bits), sep="\n")
        print("", dissect(best.reply, random_bits), sep="\n")
    return 0


if __name__ == "__main__":
    try:
        status = main()
        print(end="", flush=True)  # a full disk or a closed pipe fails here
    except Failure as failure:
        tell(f"error: {failure}")
        status = failure.status
    except OSError as error:
        tell(f"error: cannot write the result: {error.strerror}")
        status = 1
    except KeyboardInterrupt:
        status = 130
    # Not sys.exit(): it would write to the full disk again, and its clean-up takes time.
    os._exit(status)
