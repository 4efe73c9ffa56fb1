#!/usr/bin/env python3
"""Part 3: the command line, and one record of a binary file.

    basics.py ARGUMENT1 ARGUMENT2

ARGUMENT2 is the number of a record in sample_data_file.dat, in the current folder. A record is 16
bytes, big-endian, as in Lab 9: 8 bits, a byte of padding, 16 bits, 32 bits and 64 bits. Record k
holds k four times, each cut to its own width: in record 257 the 8-bit value is 1.
"""

import struct
import sys

DATA_FILE = "sample_data_file.dat"
RECORD = struct.Struct(">BxHIQ")  # x is the padding

# Print what the terminal cannot show, too, and report a full disk once, at the end.
sys.stdout = open(1, "w", errors="backslashreplace")

# 1. If there are two arguments, print them one at a time.
if len(sys.argv) != 3:
    sys.exit("usage: basics.py ARGUMENT1 ARGUMENT2")
print(sys.argv[1])
print(sys.argv[2])

# 2. The second must be an integer.
try:
    count = int(sys.argv[2])
except ValueError:
    sys.exit(f"basics.py: error: not an integer: {sys.argv[2]!a:.50}")

# 3. Join the two.
onestring = sys.argv[1] + sys.argv[2]
print(onestring)

# 4. Open the file.
try:
    with open(DATA_FILE, "rb") as file:
        # 5. Skip count - 1 records.
        records = file.seek(0, 2) // RECORD.size  # 2: from the end
        if not 1 <= count <= records:
            sys.exit(f"basics.py: error: {DATA_FILE} has records 1 to {records}")
        file.seek((count - 1) * RECORD.size)
        # 6. Read the four values, and check them as in Lab 9.
        values = RECORD.unpack(file.read(RECORD.size))
except OSError as error:
    sys.exit(f"basics.py: error: cannot read the records in this folder: {error}")
print("8: {}\n16: {}\n32: {}\n64: {}".format(*values))
if values != (count % 2**8, count % 2**16, count % 2**32, count % 2**64):
    sys.exit(f"basics.py: error: sanity check failed for record {count}: the wrong byte order?")
print("sanity check: passed")
