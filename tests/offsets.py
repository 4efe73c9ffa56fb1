"""Find the offset in whatever a student's client prints.

The number comes after its label ("Offset: +0.5 s", "offset (ms) = 500"), before it or on the next
line, or stands alone on a line. Numbers that look like a delay, a timestamp, a date or an address
are passed over. If several lines have a label, the last one counts, because results come last,
unless it explains or warns.
"""

import re
from collections import namedtuple

# kind: "rfc" if seconds has RFC 5905's sign, because the text calls it an offset or says whose
# clock is ahead or behind; "own" if the student chose the sign (a difference, a bare number, "ahead
# by 0.5 s")
Offset = namedtuple("Offset", "seconds kind")

LABELS = [  # (kind, label): the best first
    ("rfc", "(?<!byte )(?<!utc )(?<!epoch )off-?set|theta|\N{GREEK SMALL LETTER THETA}"),
    ("own", r"d[ei]screp[ae]n|(?<!epoch )differ|(?<![a-z])diff(?![a-z])|disparity|disagree"),
    ("own", r"(?<![a-z])delta(?![a-z])|skew|deviat|drift|correction|(?:time|clock) error"),
    ("own", r"\boff by\b|out of sync by|(?:time|clock) - (?:local|server|client|my|ntp)"),
]
OTHERS = r"delay|dispersion|distance|round.?trip|\brtt\b"  # labels of other quantities
AHEAD, BEHIND = r"ahead|fast|faster|early|lead\w*", r"behind|slow|slower|late|lag\w*"
WORDS = rf"\b({AHEAD}|{BEHIND})\b"
UNIT = r"(n|nano|u|micro|m|milli)?s(?:ec(?:ond)?)?s?\b"
SCALE = {None: 1, "m": 1e-3, "milli": 1e-3, "u": 1e-6, "micro": 1e-6, "n": 1e-9, "nano": 1e-9}
BARE = r"[-+]?(?:\d(?:[\d,_]*\d)?(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?"
# No part of a word (T1), a date or time (2026-11-28 01:02:03), an address or a fraction (/ 2).
NUMBER = rf"(?<![\w./])(?<!\d[-:])(?<!/ )({BARE})(?![\w:/]|-\d|\.\w|\s*%)"
TIMEDELTA = r"(?<!\d )(?:(-?\d+) days?, |([-+]?))\b(\d+):(\d\d):(\d\d(?:\.\d+)?)"
# Remarks between label and number: (4 replies), of 4 samples, (rounded); but not (ms) or (9 ms).
ASIDE = rf"\((?![^()]*\b{UNIT})[^()]*(?:[a-z]{{3}}|\bt\d)[^()]*\)"
ASIDE += rf"|\([\d.]+(?: of \d+)?\)|\b(?:of|over|from|for|after) \d+ (?!{UNIT})[a-z]+"
ASIDE += rf"|\('[^()]*\)|\([^()]*(?:{OTHERS})[^()]*\)"
EXPLAINS = r"\b(means|if|when|note|warning|normal|positive|negative|(more|less) than)\b| [<>] "
EXPLAINS += r"|\b(under|below|within|min|max|largest|standard|std|stdev)\b"
NO_TEXT = r"(?<![\w.])[0-9a-f]{8}\b|^[-=+ ]+$"  # a hex dump ("offset 40: eeb4c043") or a rule
HOURS = r"(?:0 days?,? )?(?:(\d+) ?h(?:ours?|rs?)?,? )?"
MINUTES = r"(\d+) ?m(?:in(?:ute)?s?)?,? (?:and )?"
HOURS_AND_MINUTES = rf"{HOURS}{MINUTES}(\d[\d.]*) ?{UNIT}"


def read_number(text, label=""):
    """Return the seconds in the first number of text, and whether it has a sign; or None.

    If no unit follows the number, the label may name the unit: "offset in ms".
    """
    found = re.search(NUMBER, text)
    span = re.search(TIMEDELTA, text)
    if span and (not found or span.start() <= found.start()):
        days, sign, *others = span.groups()
        hours, minutes, seconds = map(float, others)
        total = int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds
        return -total if sign == "-" else total, bool(sign or days)
    if not found:
        return None
    margin = rf"(?:\s*\+/?-\s*{BARE})?"  # 0.5 +- 0.1 ms
    unit = re.match(rf"{margin}\W*{UNIT}", text[found.end() :])
    unit = unit or re.search(rf"(?<![a-z']){UNIT}", label)
    number = float(re.sub("[,_]", "", found[1]))
    return number * SCALE[unit[1] if unit else None], found[1][0] in "-+"


def places(line, next_line, found):
    """Return the texts in which a label's number may be, each with what may name its unit."""
    after = re.split(OTHERS, re.sub(ASIDE, "", line[found.end() :]))[0]
    statement = after.rpartition(" is ")[2]
    if re.search(NUMBER, statement):
        after = statement
    *others, before = re.split(OTHERS, line[: found.start()])
    adjacent = re.search(rf"{NUMBER}\s*(?:{UNIT})?\s*$", before)  # "0.5 s offset"
    if others or re.match(r"\s*[:=]", after):
        adjacent = None
    last = re.search(rf"{NUMBER}\D*$", before)  # "0.5 s is the offset"
    formula, _, result = after.replace("=>", ";").rpartition("=")  # "offset = (a + b) / 2 = 0.5"
    if re.match(rf"[\s:=]*{NUMBER}(?!\s*[*/]|\s*- )", after):  # "offset=0.5 jitter=0.1"
        formula, result = "", after
    heads, cells = re.sub(r" +\(", "(", line).split(), next_line.split()  # "Offset (ms)"
    if len(heads) == len(cells) > 1 and not re.search(NUMBER, line):  # a table
        return [(cell, head) for head, cell in zip(heads, cells) if found[0] in head]
    return [
        (before[adjacent.start() :] if adjacent else "", ""),
        (re.split(r"\bt[1-4]\b", result)[0], f"{found[0]} {formula}{result.split(':')[0]}"),
        (before[last.start() :] if last else "", ""),
        (next_line if re.match(rf"\W*(?:{NUMBER}|{TIMEDELTA})", next_line) else "", line),
    ]


def in_words(seconds, line):
    """Return the Offset in a line such as "your clock is 0.5 s behind the server"."""
    word = re.search(WORDS, line)
    than_server = re.search(r"(ahead of|behind|faster than|slower than) (the )?(ntp )?server", line)
    subjects = r"server|\b(?:you|your|my|this|local|computer|client|system)\b"
    before = re.findall(subjects, line[: word.start()])
    client_is_ahead = bool(re.fullmatch(AHEAD, word[1]))
    if not than_server and before and before[-1] == "server":  # the last noun before the word
        client_is_ahead = not client_is_ahead
    kind = "rfc" if before or than_server else "own"
    return Offset(-seconds if client_is_ahead else seconds, kind)


def labelled(line, next_line, kind, label):
    """Return the Offset, of this kind, that the label names in a line, or None."""
    for found in re.finditer(rf"(?:{label})\w*", line):
        for place, unit in places(line, next_line, found):
            number = read_number(place, unit)
            if number:
                seconds, signed = number
                for words in [line] if re.search(NUMBER, next_line) else [line, next_line]:
                    if re.search(WORDS, words) and not signed and not re.search(EXPLAINS, words):
                        return in_words(seconds, words)
                own_sign = re.search(r"(client|local|computer)\w*( time| clock)? ?(-|minus)", line)
                return Offset(seconds, "own" if own_sign else kind)
    return None


def in_seconds(found):
    """Return what HOURS_AND_MINUTES has found, in seconds."""
    return f"{int(found[1] or 0) * 3600 + int(found[2]) * 60 + float(found[3])} s"


def find_offset(text):
    """Return the Offset in this text, or None."""
    text = text.lower().replace("\N{MINUS SIGN}", "-").replace("\N{PLUS-MINUS SIGN}", "+-")
    text = re.sub("[\N{MICRO SIGN}\N{GREEK SMALL LETTER MU}]s", "us", text)
    text = re.sub(rf"(\d)({UNIT})", r"\1 \2", text)  # 0.5s
    text = re.sub(HOURS_AND_MINUTES, in_seconds, text)
    lines = [line.strip() for line in text.replace("|", " ").splitlines() if line.strip()]
    lines = [line for line in lines if not re.search(NO_TEXT, line)]
    pairs = list(zip(lines, [*lines[1:], ""]))[::-1]
    pairs.sort(key=lambda pair: bool(re.search(EXPLAINS, pair[0])))
    for kind, label in LABELS:
        for line, next_line in pairs:
            found = labelled(line, next_line, kind, label)
            if found:
                return found
    for line, _ in pairs:
        number = re.search(WORDS, line) and read_number(line)
        if number:
            return in_words(number[0], line)
    for line, _ in pairs:
        if re.fullmatch(rf"{BARE}\s*(?:{UNIT})?\.?", line):
            return Offset(read_number(line)[0], "own")
    return None
