#!/usr/bin/env python3
"""Part 3: the command line, and one record of a binary file.

    basics.py ARGUMENT1 ARGUMENT2

ARGUMENT2 is the number of a record in sample_data_file.dat, in the current folder. A record has 16
bytes, big-endian, as in Lab 9: 8 bits, a byte of padding, 16 bits, 32 bits and 64 bits. Record k
holds k four times, each wrapped to its own width: in record 257 the 8-bit value is 1.
Exit status: 0 it worked, 1 it could not be done, 2 the command line was wrong, 130 Ctrl-C.
"""

import os
import struct
import sys

DATA_FILE = "sample_data_file.dat"
RECORD = struct.Struct(">BxHIQ")  # x is the padding


def leave(status, message):
    """Print one line on stderr, if that is open, and end the program."""
    try:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()
    except (AttributeError, OSError):
        pass
    os._exit(status)  # not sys.exit(): Python would write to a full disk again


def main():
    """Do the six steps of the handout."""
    # Print line by line, to notice a full disk, and arguments as they are, even if no text.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", line_buffering=True)
    # 1. Print the two arguments, one at a time.
    if len(sys.argv) != 3:
        leave(2, "usage: basics.py ARGUMENT1 ARGUMENT2")
    print(sys.argv[1])
    print(sys.argv[2])
    # 2. The second must be an integer. Records count from 1.
    try:
        count = int(sys.argv[2])
    except ValueError:
        leave(2, f"basics.py: error: not an integer: {sys.argv[2]!a:.50}")
    if count < 1:
        leave(2, f"basics.py: error: records count from 1: {sys.argv[2]!a:.50}")
    # 3. Join the two arguments.
    onestring = sys.argv[1] + sys.argv[2]
    print(onestring)
    # 4. Open the file.
    try:
        with open(DATA_FILE, "rb") as file:
            # 5. Skip count - 1 records.
            records = file.seek(0, os.SEEK_END) // RECORD.size
            if count > records:
                leave(1, f"basics.py: error: {DATA_FILE} has only {records} records")
            file.seek((count - 1) * RECORD.size)
            # 6. Read the four values, and check them as in Lab 9.
            values = RECORD.unpack(file.read(RECORD.size))
    except OSError as error:
        leave(1, f"basics.py: error: cannot read {DATA_FILE} here: {error.strerror or error}")
    print("8: {}\n16: {}\n32: {}\n64: {}".format(*values))
    if values != (count % 2**8, count % 2**16, count % 2**32, count % 2**64):
        leave(1, f"basics.py: error: sanity check failed for record {count}: the wrong byte order?")
    print("sanity check: passed")


if __name__ == "__main__":
    if not sys.stdout:
        leave(1, "basics.py: error: standard output is closed")
    try:
        main()
    except OSError as error:
        leave(1, f"basics.py: error: cannot write the output: {error.strerror}")
    except KeyboardInterrupt:
        os._exit(130)
