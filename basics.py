#!/usr/bin/env python3
"""Print the arguments of "basics.py ARGUMENT1 ARGUMENT2" and a binary record (lab part 3).

ARGUMENT2 is the number of a 16-byte, big-endian record in sample_data_file.dat, as in Lab 9.
Record k holds the low 8 bits of k (1 for 257), a padding byte and k in 16, 32 and 64 bits.
"""

import os
import struct
import sys

RECORD = struct.Struct(">BxHIQ")  # x is the padding byte
sys.tracebacklimit = 0  # if the output cannot be written, say so in one line
sys.stdout.reconfigure(errors="backslashreplace")  # escape unencodable characters

# 1. If there are two arguments, print them one at a time.
if len(sys.argv) != 3:
    sys.exit("usage: basics.py ARGUMENT1 ARGUMENT2")
print(sys.argv[1])
print(sys.argv[2])

# 2. Check that the second is an integer.
try:
    count = int(sys.argv[2])
except ValueError:
    sys.exit(f"basics.py: error: {sys.argv[2]!r} is not an integer")

# 3. Concatenate the two.
onestring = sys.argv[1] + sys.argv[2]
print(onestring)

# 4. Open the file.
try:
    with open("sample_data_file.dat", "rb") as file:
        # Check that there is such a record.
        records = file.seek(0, os.SEEK_END) // RECORD.size
        if not 1 <= count <= records:
            sys.exit(f"basics.py: error: sample_data_file.dat has records 1 to {records}")
        # 5. Skip count - 1 records.
        file.seek((count - 1) * RECORD.size)
        # 6. Read the four values, and check them as in Lab 9.
        values = RECORD.unpack(file.read(RECORD.size))
except OSError as error:
    sys.exit(f"basics.py: error: cannot read the data file in this folder: {error}")
print("8: {}\n16: {}\n32: {}\n64: {}".format(*values))
if values != (count % 2**8, count % 2**16, count % 2**32, count % 2**64):
    sys.exit(f"basics.py: error: sanity check failed for record {count}; is the byte order wrong?")
print("sanity check: passed")
