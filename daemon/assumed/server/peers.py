"""Which user has the other end of a connection on the loopback interface.

Source: sock_diag(7); linux/inet_diag.h, `inet_diag_req_v2` and `inet_diag_msg`.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Container

from assumed.server.http import LOOPBACK

_SOCK_DIAG = 4
_BY_FAMILY = 20
_ERROR = 2
_REQUEST = 1
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = (0xFFFFFFFF, 0xFFFFFFFF)
# Length, type, flags, sequence number and port of a netlink message.
_HEADER = struct.Struct("=IHHII")
# Family, protocol, extensions, padding, states.
_QUERY = struct.Struct("=BBBxI")
# Both ports, both addresses with room for IPv6.
_SOCKET = struct.Struct("!HH4s12x4s12x")
_INTERFACE_AND_COOKIE = struct.Struct("=III")
_ERRNO = struct.Struct("=i")
_USER_AND_INODE = struct.Struct("=II")
_USER_OFFSET = _HEADER.size + 4 + 48 + 12
_ANSWER_BYTES = 1024


class LoopbackPeers:
    """Finds the users of the clients of a port of 127.0.0.1; a look-up takes 2 microseconds.

    Not thread-safe. Users outside the user namespace of this process all count as other users.

    Args:
        port: of the listening socket.
    """

    def __init__(self, port: int) -> None:
        length = _HEADER.size + _QUERY.size + _SOCKET.size + _INTERFACE_AND_COOKIE.size
        self._before = _HEADER.pack(length, _BY_FAMILY, _REQUEST, 0, 0) + _QUERY.pack(
            socket.AF_INET, socket.IPPROTO_TCP, 0, _ALL_STATES
        )
        self._after = _INTERFACE_AND_COOKIE.pack(0, *_NO_COOKIE)
        self._port = port
        self._address = socket.inet_aton(LOOPBACK)
        self._welcome: Container[int] = {os.geteuid(), 0}
        self._netlink: socket.socket | None = None

    def is_other_user(self, host: str, port: int) -> bool:
        """Whether the client belongs to neither this user nor root, or has gone.

        Return False if that cannot be found out, as without the kernel's tcp_diag.
        """
        try:
            answer = self._ask(host, port)
            kind = _HEADER.unpack_from(answer)[1]
            if kind == _BY_FAMILY:
                user, inode = _USER_AND_INODE.unpack_from(answer, _USER_OFFSET)
                # Without an inode, no process has the socket any more.
                return inode == 0 or user not in self._welcome
            gone: bool = kind == _ERROR and (
                _ERRNO.unpack_from(answer, _HEADER.size)[0] == -errno.ENOENT
            )
        except (OSError, struct.error):
            self.close()
            return False
        return gone

    def close(self) -> None:
        """Close the connection to the kernel; the next look-up opens it again."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def _ask(self, host: str, port: int) -> bytes:
        if self._netlink is None:
            kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
            self._netlink = socket.socket(socket.AF_NETLINK, kind, _SOCK_DIAG)
        both_ends = _SOCKET.pack(port, self._port, socket.inet_aton(host), self._address)
        # The kernel has answered when `send` returns.
        self._netlink.send(self._before + both_ends + self._after)
        return self._netlink.recv(_ANSWER_BYTES)
