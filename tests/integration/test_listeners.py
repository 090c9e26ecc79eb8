"""Listening sockets that outlive a process, and what is done with one that is not the right one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from assumed.app.api_listener import ApiListener
from assumed.fastpath.unix_http import request_json
from assumed.server.container_credentials import ContainerCredentialsEndpoint
from assumed.server.http import LOOPBACK, listen_on_loopback
from assumed.server.listeners import inode_mark, take_loopback, take_unix
from assumed.server.metrics_endpoint import MetricsServer
from assumed.server.peers import LoopbackPeers
from assumed.server.unix_socket import listen
from tests.fake_daemon import FakeDaemon
from tests.integration.test_endpoint import Client, FakeSource
from tests.repository import REPOSITORY

OTHER_UID = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


class Store:
    """A store that keeps sockets as systemd does: what is taken stays in it."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[socket.socket, str]] = {}
        self.untaken: set[str] = set()

    def restart(self) -> None:
        self.untaken = set(self.kept)

    def take(self, name: str) -> tuple[socket.socket, str] | None:
        if name not in self.untaken:
            return None
        self.untaken.remove(name)
        listener, mark = self.kept[name]
        return listener.dup(), mark

    def keep(self, name: str, listener: socket.socket, mark: str = "") -> bool:
        self.drop(name)
        self.kept[name] = listener.dup(), mark
        return True

    def drop(self, name: str) -> None:
        self.untaken.discard(name)
        if name in self.kept:
            self.kept.pop(name)[0].close()


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    for name in [*store.kept]:
        store.drop(name)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_a_client_that_connects_during_a_restart_is_answered(store: Store, directory: Path) -> None:
    source = FakeSource()
    first = ContainerCredentialsEndpoint(source, directory, store)
    client = Client(first.address("deploy"))
    first.close()
    store.restart()

    with client.connect() as waiting:
        waiting.sendall(
            f"GET {client.path} HTTP/1.1\r\nHost: {client.host}:{client.port}\r\n"
            f"Authorization: {client.token}\r\n\r\n".encode()
        )
        second = ContainerCredentialsEndpoint(source, directory, store)
        second.restore()
        # With the token that it had before.
        assert waiting.recv(15) == b"HTTP/1.1 200 \r\n"
    assert second.address("deploy").token_file.read_text() == client.token
    second.close()


def test_draining_answers_open_requests_and_leaves_new_ones_to_the_next_process(
    store: Store, directory: Path
) -> None:
    source = FakeSource()
    first = ContainerCredentialsEndpoint(source, directory, store)
    client = Client(first.address("deploy"))
    assert client.status() == 200
    first.drain()
    with client.connect() as waiting:
        waiting.sendall(
            f"GET {client.path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: {client.token}\r\n\r\n".encode()
        )
        first.close()
        waiting.settimeout(0.2)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        store.restart()
        second = ContainerCredentialsEndpoint(source, directory, store)
        second.restore()
        waiting.settimeout(30)
        assert waiting.recv(15) == b"HTTP/1.1 200 \r\n"
    second.close()


def test_a_kept_port_without_token_files_is_closed(store: Store, directory: Path) -> None:
    first = ContainerCredentialsEndpoint(FakeSource(), directory, store)
    address = first.address("deploy")
    first.close()
    address.token_file.unlink()
    address.token_file.parent.rmdir()
    store.restart()
    second = ContainerCredentialsEndpoint(FakeSource(), directory, store)
    second.restore()
    assert store.kept == {}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, urlsplit(address.url).port or 0))
    second.close()


def make_hard_link(token_file: Path) -> None:
    token_file.with_name("second").hardlink_to(token_file)


def make_readable(token_file: Path) -> None:
    token_file.chmod(0o644)


def make_link(token_file: Path) -> None:
    token_file.rename(token_file.with_name("first"))
    token_file.symlink_to("first")


def make_short(token_file: Path) -> None:
    token_file.write_text("short")


def make_fifo(token_file: Path) -> None:
    token_file.unlink()
    os.mkfifo(token_file, 0o600)


@pytest.mark.parametrize(
    "change", [make_hard_link, make_readable, make_link, make_short, make_fifo]
)
def test_a_token_file_that_was_changed_gets_a_new_token(
    store: Store, directory: Path, change: Callable[[Path], None]
) -> None:
    first = ContainerCredentialsEndpoint(FakeSource(), directory, store)
    address = first.address("deploy")
    token = address.token_file.read_text()
    first.close()
    change(address.token_file)
    store.restart()
    second = ContainerCredentialsEndpoint(FakeSource(), directory, store)
    second.restore()
    assert second.address("deploy") == address
    assert Client(address).status() == 200
    assert Client(address).status(Authorization=token) == 401
    second.close()


def listener_of_another_user() -> socket.socket:
    os.seteuid(OTHER_UID)
    try:
        return listen_on_loopback()
    finally:
        os.seteuid(0)


def bound(address: str, *, kind: int = socket.SOCK_STREAM) -> socket.socket:
    found = socket.socket(socket.AF_INET, kind)
    found.bind((address, 0))
    if kind == socket.SOCK_STREAM and address != LOOPBACK:
        found.listen()
    return found


WRONG: dict[str, Callable[[], socket.socket]] = {
    "another address": lambda: bound("127.0.0.2"),
    "all addresses": lambda: bound("0.0.0.0"),  # noqa: S104 - for a moment
    "not listening": lambda: bound(LOOPBACK),
    "datagrams": lambda: bound(LOOPBACK, kind=socket.SOCK_DGRAM),
    "another family": lambda: socket.socket(socket.AF_UNIX),
    "another port": listen_on_loopback,
    "another user": listener_of_another_user,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_socket_is_not_used_but_dropped(store: Store, name: str) -> None:
    if name == "another user" and os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    with WRONG[name]() as wrong:
        store.keep("metrics", wrong)
        store.restart()
        assert take_loopback(store, "metrics", port=1) is None
        assert store.kept == {}


def test_the_metrics_port_is_kept_until_the_configuration_changes(store: Store) -> None:
    with listen_on_loopback() as first, listen_on_loopback() as second:
        port, other = first.getsockname()[1], second.getsockname()[1]
    server = MetricsServer(lambda: b"", store)
    server.open(port)
    server.close()
    store.restart()
    again = MetricsServer(lambda: b"", store)
    again.open(port)
    socket.create_connection((LOOPBACK, port)).close()
    again.open(other)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, port))
    socket.create_connection((LOOPBACK, other)).close()
    again.open(None)
    assert store.kept == {}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, other))


@contextmanager
def api(store: Store, path: Path) -> Iterator[ApiListener]:
    listener = ApiListener(FakeDaemon(), path, config="config.yaml", listeners=store)
    listener.open()
    listener.start()
    yield listener
    listener.close()
    store.restart()


def ask(tmp_path: Path) -> int | None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    response = request_json(environ, "me", "/v1/status", {}, timeout_seconds=30)
    return response.status if response else None


def test_the_api_socket_is_kept_while_its_path_leads_to_it(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "assumed" / "assumed.sock"
    with api(store, path):
        mark = inode_mark(path)
    assert path.exists()
    with api(store, path):
        assert inode_mark(path) == mark
        assert ask(tmp_path) == 200
    path.unlink()
    with api(store, path):
        assert ask(tmp_path) == 200
    path.unlink()
    with socket.socket(socket.AF_UNIX) as planted:
        planted.bind(str(path))
        planted.listen()
        with api(store, path) as listener:
            assert ask(tmp_path) == 200
            path.unlink()
            assert listener.reopen()
            assert ask(tmp_path) == 200
    with api(store, path):
        assert ask(tmp_path) == 200


def test_an_api_socket_of_another_path_is_not_used(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "run" / "other.sock"
    with listen(path) as other:
        store.keep("api", other, inode_mark(path))
        store.restart()
        link = tmp_path / "run" / "assumed.sock"
        link.hardlink_to(path)
        assert take_unix(store, "api", link) is None
        assert store.kept == {}


RECEIVE = """
import json, os, socket, sys
from assumed.platform.systemd.listener_store import SystemdListenerStore
from assumed.platform.systemd.notify import SystemdNotifier

listeners = [socket.socket() for _ in range(6)]
for listener in listeners:
    listener.bind(("127.0.0.1", 0))
    listener.listen()
ports = [listener.getsockname()[1] for listener in listeners]
high = [os.dup2(listener.fileno(), 100 + number) for number, listener in enumerate(listeners)]
for number, descriptor in enumerate(high):
    os.dup2(descriptor, 3 + number)
os.dup2(os.open(os.devnull, os.O_RDONLY), 6)
environ = {
    "LISTEN_PID": str(os.getpid()),
    "LISTEN_FDS": "4",
    "LISTEN_FDNAMES": "assumed-endpoint.:assumed-api.7-8:of-another:assumed-metrics.",
    "NOTIFY_SOCKET": sys.argv[1],
}
store = SystemdListenerStore(SystemdNotifier(environ), environ)
found = {}
for name in ("endpoint", "api", "of-another", "metrics", "endpoint"):
    taken = store.take(name)
    found.setdefault(name, []).append(
        taken and [ports.index(taken[0].getsockname()[1]), taken[1], taken[0].get_inheritable()]
    )
assert store.keep("endpoint", socket.create_server(("127.0.0.1", 0)), "9")
store.drop("api")
ignored = dict(environ, LISTEN_PID="1", LISTEN_FDS="1", LISTEN_FDNAMES="assumed-api.")
found["of another process"] = SystemdListenerStore(SystemdNotifier({}), ignored).take("api")
print(json.dumps([found, sorted(environ), sorted(ignored)]))
"""


def test_the_store_of_systemd_speaks_its_protocol(tmp_path: Path) -> None:
    """The real one is in test_real_systemd.py."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", RECEIVE, str(tmp_path / "notify")],
            capture_output=True,
            text=True,
            check=False,
            cwd=REPOSITORY,
        )
        assert done.returncode == 0, done.stderr
        found, *environs = json.loads(done.stdout)
        messages: list[Any] = []
        for _ in range(3):
            text, descriptors, _, _ = socket.recv_fds(manager, 4096, 4)
            messages.append((text.decode().splitlines(), len(descriptors)))
            for descriptor in descriptors:
                with socket.socket(fileno=descriptor) as kept:
                    assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert found == {
        "endpoint": [[0, "", False], None],
        "api": [[1, "7-8", False]],
        "of-another": [None],
        "metrics": [None],
        "of another process": None,
    }
    # A child process must not take the sockets for its own.
    assert environs == [["NOTIFY_SOCKET"], ["NOTIFY_SOCKET"]]
    assert messages == [
        (["FDSTOREREMOVE=1", "FDNAME=assumed-endpoint."], 0),
        (["FDSTORE=1", "FDNAME=assumed-endpoint.9"], 1),
        (["FDSTOREREMOVE=1", "FDNAME=assumed-api.7-8"], 0),
    ]


CONNECT = f"""
import os, socket, sys
port, count = map(int, sys.argv[1:])
os.setgroups([])
os.setgid({OTHER_UID})
os.setuid({OTHER_UID})
connections = []
for _ in range(count):
    connection = socket.socket()
    connection.connect(("127.0.0.1", port))
    connections.append(connection)
print("connected", flush=True)
sys.stdin.read()
"""
ASK = f"""
import os, socket, sys
os.setgroups([])
os.setgid({OTHER_UID})
os.setuid({OTHER_UID})
with socket.socket() as connection:
    connection.settimeout(30)
    try:
        connection.connect(("127.0.0.1", int(sys.argv[1])))
        connection.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
        print(connection.recv(12).decode() or "closed")
    except OSError as error:
        print("closed")
"""


@contextmanager
def connected(port: int, count: int) -> Iterator[None]:
    """Hold connections of another user."""
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-S", "-c", CONNECT, str(port), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "connected\n"
        yield
        process.stdin.close()


@as_root
def test_the_user_of_a_client_is_known() -> None:
    with listen_on_loopback() as listener:
        port = listener.getsockname()[1]
        peers = LoopbackPeers(port)
        with socket.create_connection((LOOPBACK, port)):
            accepted, own = listener.accept()
            accepted.close()
            assert not peers.is_other_user(*own)
        with connected(port, 1):
            accepted, theirs = listener.accept()
            assert peers.is_other_user(*theirs)
            accepted.close()
        # It has closed its end, which no process has any more.
        assert peers.is_other_user(*own)
        assert peers.is_other_user(*theirs)
        peers.close()


def test_a_client_whose_user_cannot_be_found_out_counts_as_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("assumed.server.peers._SOCK_DIAG", 31)
    with listen_on_loopback() as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)) as client:
            assert not LoopbackPeers(port).is_other_user(*client.getsockname())
            assert not LoopbackPeers(port).is_other_user("not an address", 1)


@as_root
def test_connections_of_other_users_are_closed_first(directory: Path) -> None:
    endpoint = ContainerCredentialsEndpoint(FakeSource(), directory)
    client = Client(endpoint.address("deploy"))

    def ask_as_another_user() -> str:
        return subprocess.run(  # noqa: S603
            [sys.executable, "-S", "-c", ASK, str(client.port)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    # Without a flood every user is answered, as a container with the network of the host is.
    assert ask_as_another_user() == "HTTP/1.1 401"
    with connected(client.port, 127):
        assert ask_as_another_user() == "HTTP/1.1 401"
        with connected(client.port, 400):
            assert ask_as_another_user() == "closed"
            # The owner is not closed out, and would be as the oldest of 256 connections.
            with client.connect() as silent:
                for _ in range(300):
                    assert client.status() == 200
                silent.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert silent.recv(12) == b"HTTP/1.1 401"
    endpoint.close()
