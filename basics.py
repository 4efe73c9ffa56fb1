#!/usr/bin/env python3
"""Part 3: the command line, and one record of a binary file.

    basics.py ARGUMENT1 ARGUMENT2

prints both arguments and then the two joined; takes ARGUMENT2 as a number, count;
and prints record number count of sample_data_file.dat, which it looks for in the
current folder. Exit status: 0 it worked, 1 the record could not be had or is not
what it must be (or the output could not be written), 2 the command line was wrong.

A record is 16 bytes, big-endian, as in Lab 9:

    byte    0       1        2-3      4-7      8-15
          8-bit  padding   16-bit   32-bit   64-bit

Records count up from 1, with nothing before or between them. Record k holds k
four times, each wrapped to its own width: in record 257 the 8-bit value is 1.
"""

import os
import struct
import sys

DATA_FILE = "sample_data_file.dat"
RECORD = struct.Struct(">BxHIQ")  # big-endian: 8 bits, a padding byte, 16, 32 and 64 bits
WIDTHS = (8, 16, 32, 64)


def complain(message):
    """Print one line on stderr. If that is closed or full, the exit status has to do."""
    try:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()
    except (AttributeError, OSError):
        pass


def fail(message, status=1):
    """Leave with this exit status and one line on stderr, after whatever was printed so far."""
    print(end="", flush=True)
    complain(message)
    sys.exit(status)


def show(argument):
    """Print a command-line argument as it is, byte for byte, even if it is not text, or not the terminal's."""
    sys.stdout.buffer.write(os.fsencode(argument) + b"\n")


def read_record(count):
    """Return the four values of record count of the data file, counted from 1, or leave with status 1."""
    try:
        with open(DATA_FILE, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            # Asking the size first keeps a number with thousands of digits away from seek().
            if count * RECORD.size > size:
                whole, rest = divmod(size, RECORD.size)
                cut = f" and {rest} bytes of another" if rest else ""
                fail(f"basics.py: error: {DATA_FILE} has no such record: records in it: {whole}{cut}")
            file.seek((count - 1) * RECORD.size)
            return RECORD.unpack(file.read(RECORD.size))
    except OSError as error:
        fail(f"basics.py: error: cannot read {DATA_FILE} in the current folder: {error.strerror}")


def main():
    """Do the handout's six steps, in its order."""
    if sys.stdout is None:
        fail("basics.py: error: standard output is closed")

    # 1. Two arguments, printed one at a time.
    if len(sys.argv) != 3:
        fail("usage: basics.py ARGUMENT1 ARGUMENT2", status=2)
    show(sys.argv[1])
    show(sys.argv[2])

    # 2. The second must be an integer, and a record's number.
    shown = ascii(sys.argv[2]) if len(sys.argv[2]) < 50 else f"an argument of {len(sys.argv[2])} characters"
    try:
        count = int(sys.argv[2])
    except ValueError:
        fail(f"basics.py: error: not an integer that int() takes: {shown}", status=2)
    if count < 1:
        fail(f"basics.py: error: records count from 1, so there is none for {shown}", status=2)

    # 3. Both strings in one.
    onestring = sys.argv[1] + sys.argv[2]
    show(onestring)

    # 4., 5. and 6. Open the file, skip count - 1 records, read the four values ...
    values = read_record(count)
    for width, value in zip(WIDTHS, values):
        print(f"{width}: {value}")
    # ... and check them as in Lab 9.
    expected = tuple(count % 2**width for width in WIDTHS)
    if values != expected:
        fail(f"basics.py: error: sanity check failed: record {count} must hold {expected}: is the byte order right?")
    print("sanity check: passed")


if __name__ == "__main__":
    try:
        status = 0
        try:
            main()
        except SystemExit as leaving:  # after fail()
            status = leaving.code
        print(end="", flush=True)  # here, where a full disk or a closed pipe can still be reported
    except OSError as error:
        complain(f"basics.py: error: cannot write the output: {error.strerror}")
        status = 1
    except KeyboardInterrupt:
        status = 130
    os._exit(status)  # not sys.exit(): Python would write to the full disk again, and complain in its own words
