"""Find the offset in whatever a student's client prints.

The number stands after its label ("Offset: +0.5 s", "offset (ms) = 500"), before it or on the next
line, or a line holds nothing else. The number is never the delay, a timestamp or a date.
"""

import re
from collections import namedtuple

# kind: "rfc" if seconds has RFC 5905's sign, as the text calls it an offset or says whose clock
# is ahead or behind; "own" if the student chose the sign (a difference, a bare number); "words" if
# words are the sign, but do not say whose clock is meant ("ahead by 0.5 s")
Offset = namedtuple("Offset", "seconds kind")

LABELS = {
    "rfc": r"off-?set|theta",
    "own": r"discrepanc|differ|\bdiff\b|\bdelta\b|skew|deviat|\boff by\b",
}
OTHERS = r"delay|dispersion|distance|round|\brtt\b"  # what has numbers of its own
WORDS = r"\b(ahead|behind|fast|faster|slow|slower|late|early)\b"
# No part of a word (T1), a date or time (2026-11-28 01:02:03), an address or a fraction (/ 2).
BARE = r"[-+]?(?:\d(?:[\d,_]*\d)?(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?"
NUMBER = rf"(?<![\w./])(?<!\d[-:])(?<!/ )({BARE})(?![\w:/]|-\d|\.\w)"
UNIT = r"(us|ms|s|microsec|millisec|sec)(?:ond)?s?\b"
SCALE = {"us": 1e-6, "microsec": 1e-6, "ms": 1e-3, "millisec": 1e-3, "s": 1, "sec": 1}
TIMEDELTA = r"[\s:=]*(?:is )?(?:(-?\d+) days?, |([-+]?))(\d+):(\d\d):(\d\d(?:\.\d+)?)"


def read_number(text, label):
    """Return the seconds in the first number of text, and whether it has a sign; or None.

    If no unit follows the number, the label may name the unit: "offset in ms".
    """
    span = re.match(TIMEDELTA, text)
    if span:
        days, sign, *others = span.groups()
        hours, minutes, seconds = map(float, others)
        total = int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds
        return -total if sign == "-" else total, True
    found = re.search(NUMBER, text)
    if not found:
        return None
    margin = rf"(?:\s*\+/?-\s*{BARE})?"  # 0.5 +- 0.1 ms
    unit = re.match(rf"{margin}\W*{UNIT}", text[found.end() :])
    unit = unit or re.search(rf"(?<![a-z']){UNIT}", label)
    number = float(re.sub("[,_]", "", found[1]))
    return number * (SCALE[unit[1]] if unit else 1), found[1][0] in "-+"


def places(line, next_line, found):
    """Return where the number of a label found in a line may stand: (text, what names its unit)."""
    after = re.sub(r"\([^()]*\d[^()]*[a-z]{4}[^()]*\)", "", line[found.end() :])  # (4 replies)
    after = re.split(OTHERS, after)[0]
    *others, before = re.split(OTHERS, line[: found.start()])
    adjacent = re.search(rf"{NUMBER}\s*(?:{UNIT})?\s*$", before)  # "0.5 s offset"
    if others or re.match(r"\s*[:=]", after):
        adjacent = None
    last = re.search(rf"{NUMBER}\D*$", before)  # "0.5 s is the offset"
    formula, _, result = after.replace("=>", ";").rpartition("=")  # "offset = (a + b) / 2 = 0.5"
    heads, cells = line.split(), next_line.split()
    if len(heads) == len(cells) > 1 and not re.search(NUMBER, line):  # a table
        return [(cells[len(line[: found.start()].split())], "")]
    return [
        (before[adjacent.start() :] if adjacent else "", ""),
        (re.split(r"\bt[1-4]\b", result)[0], found[0] + formula + result.split(":")[0]),
        (before[last.start() :] if last else "", ""),
        (next_line if re.match(rf"\W*{NUMBER}|{TIMEDELTA}", next_line) else "", line),
    ]


def in_words(seconds, line):
    """Return the Offset in a line such as "your clock is 0.5 s behind the server"."""
    word = re.search(WORDS, line)
    than_server = re.search(r"(ahead of|behind|faster than|slower than) (the )?(ntp )?server", line)
    subjects = r"server|\b(?:you|your|my|this|local|computer|client|system)\b"
    before = re.findall(subjects, line[: word.start()])
    if not (before or than_server):
        return Offset(seconds, "words")
    client_is_ahead = word[1] in ("ahead", "fast", "faster", "early")
    if not than_server and before[-1] == "server":  # the last noun before the word
        client_is_ahead = not client_is_ahead
    return Offset(-seconds if client_is_ahead else seconds, "rfc")


def find_offset(text):
    """Return the Offset in this text, or None."""
    text = text.lower().replace("\N{MINUS SIGN}", "-").replace("\N{MICRO SIGN}s", "us")
    text = re.sub(rf"(\d)({UNIT})", r"\1 \2", text)  # 0.5s
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for kind, label in LABELS.items():
        for line, next_line in zip(lines, [*lines[1:], ""]):
            for found in re.finditer(rf"(?:{label})\w*", line):
                for place, unit in places(line, next_line, found):
                    number = read_number(place, unit)
                    if number:
                        if re.search(WORDS, line) and not number[1]:
                            return in_words(number[0], line)
                        return Offset(number[0], kind)
    for line in lines:
        number = re.search(WORDS, line) and read_number(line, "")
        if number and not number[1]:
            return in_words(number[0], line)
    if lines and re.fullmatch(rf"{BARE}\s*(?:{UNIT})?", lines[-1]):
        return Offset(read_number(lines[-1], "")[0], "own")
    return None
