"""Redirect a client with a hard-coded server, such as pool.ntp.org on port 123, to the fake server.

Before every script, Python runs a module of this name if it finds one. test_lab.py puts this folder
on PYTHONPATH and the fake server's port in LAB_PORT. Every name then stands for 127.0.0.1, and
packets for port 123 go to LAB_PORT. Replies seem to come from the address that the client asked.
"""

import os
import socket

HERE, NTP, PORT = "127.0.0.1", 123, int(os.environ["LAB_PORT"])
real = socket.socket
find_address = socket.getaddrinfo


def getaddrinfo(host, port, family=0, *others, **options):
    return find_address(HERE, port, socket.AF_INET, *others, **options)


class Socket(real):
    asked = (HERE, NTP)  # what recvfrom() and getpeername() report

    def redirect(self, address):
        """Return where a packet for this address really goes."""
        if address[1] != NTP:
            return address
        if address[0].replace(".", "").isdigit():  # an IPv4 address, and not a name
            self.asked = address
        return (HERE, PORT)

    def connect(self, address):
        return super().connect(self.redirect(address))

    def connect_ex(self, address):
        return super().connect_ex(self.redirect(address))

    def sendto(self, data, *flags_and_address):
        *flags, address = flags_and_address
        return super().sendto(data, *flags, self.redirect(address))

    def recvfrom(self, *sizes):
        data, address = super().recvfrom(*sizes)
        return data, self.asked if address == (HERE, PORT) else address

    def getpeername(self):
        address = super().getpeername()
        return self.asked if address == (HERE, PORT) else address


socket.getaddrinfo = getaddrinfo
socket.gethostbyname = lambda name: HERE
socket.gethostbyname_ex = lambda name: (name, [], [HERE])
socket.socket = socket.SocketType = Socket
