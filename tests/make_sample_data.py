#!/usr/bin/env python3
"""Write sample_data_file.dat and packet.binary again, byte for byte, in the current folder."""

import struct

RECORDS = 65_536  # the first at which every width below 32 bits has wrapped to 0, and exactly 1 MiB


def sample_data():
    """Return Lab 9's records 1 to RECORDS: each number four times, big-endian, wrapped to 8, 16,
    32 and 64 bits.
    """
    return b"".join(struct.pack(">BxHIQ", k % 2**8, k % 2**16, k, k) for k in range(1, RECORDS + 1))


def packet():
    """Return Lab 12's request: leap indicator 0, version 4, mode 3 (client), and 47 zero bytes."""
    return bytes([0b00_100_011]) + bytes(47)


if __name__ == "__main__":
    for name, content in (("sample_data_file.dat", sample_data()), ("packet.binary", packet())):
        with open(name, "wb") as file:
            file.write(content)
