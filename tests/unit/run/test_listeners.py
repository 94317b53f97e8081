from __future__ import annotations

import contextlib
import socket
from contextlib import closing
from pathlib import Path

import pytest

from proxy.config.addresses import Address
from proxy.run.listeners import HAS_BALANCED_REUSEPORT, ListenError, bind_all

ANYWHERE = Address("127.0.0.1", 0)


def unix(path: Path) -> Address:
    """Return the address of a unix socket."""
    return Address("", 0, path)


@pytest.fixture
def short_path(tmp_path, monkeypatch) -> Path:
    """Give a relative socket path, because a temporary directory's can be longer than 107 bytes."""
    monkeypatch.chdir(tmp_path)
    return Path("s")


def test_each_worker_has_a_socket_of_its_own_on_one_port():
    """Port 0 becomes one port for all; what each worker accepts from is its own."""
    listeners = bind_all([ANYWHERE], 3)
    try:
        (address,) = listeners.addresses
        sockets = [sock for worker in range(3) for sock in listeners.of(worker)]
        assert {address.port} == {sock.getsockname()[1] for sock in sockets}
        assert address.port > 0
        expected = 3 if HAS_BALANCED_REUSEPORT else 1
        assert expected == len({sock.fileno() for sock in sockets})
        assert all(not sock.getblocking() for sock in sockets)
    finally:
        listeners.close()


@pytest.mark.skipif(not HAS_BALANCED_REUSEPORT, reason="the kernel does not spread connections")
def test_connections_are_spread_over_the_workers_sockets():
    """The socket that was bound alone first is a full member of the group."""
    listeners = bind_all([ANYWHERE], 2)
    port = listeners.addresses[0].port
    accepted = [0, 0]
    try:
        for _ in range(64):
            with closing(socket.create_connection(("127.0.0.1", port))):
                for worker in range(2):
                    try:
                        listeners.of(worker)[0].accept()[0].close()
                        accepted[worker] += 1
                    except BlockingIOError:
                        continue
        assert 64 == sum(accepted)
        assert min(accepted) > 0
    finally:
        listeners.close()


@pytest.mark.parametrize("has_reuseport", [False, True])
def test_a_taken_port_is_an_error_even_if_its_owner_would_share(has_reuseport):
    """Another program with SO_REUSEPORT must not get half of the gate's requests."""
    with closing(socket.socket()) as other:
        if has_reuseport:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ListenError) as refused:
            bind_all([Address("127.0.0.1", port)], 2)
    expected = f"cannot listen on 127.0.0.1:{port}: the port is taken by another process: give `listen` another one"
    assert expected == refused.value.detail


def test_two_gates_do_not_share_a_port():
    """The second gate on a port is refused although the first one's sockets allow siblings."""
    first = bind_all([ANYWHERE], 2)
    try:
        with pytest.raises(ListenError):
            bind_all([first.addresses[0]], 2)
    finally:
        first.close()


def test_a_failure_leaves_nothing_bound(short_path):
    """When the second address fails, the first is free again and no socket file stays."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        taken = Address("127.0.0.1", other.getsockname()[1])
        with pytest.raises(ListenError):
            bind_all([unix(short_path), taken], 2)
    assert not short_path.exists()


def test_a_port_is_free_again_after_close():
    """The next start can bind at once."""
    first = bind_all([ANYWHERE], 2)
    address = first.addresses[0]
    first.close()
    bind_all([address], 2).close()


def test_ipv6_does_not_take_the_ipv4_port():
    """`[::]:p` and `0.0.0.0:p` can stand beside each other: each listens on what it says."""
    first = bind_all([Address("::", 0)], 2)
    try:
        port = first.addresses[0].port
        assert f"[::]:{port}" == str(first.addresses[0])
        bind_all([Address("127.0.0.1", port)], 1).close()
    finally:
        first.close()


def test_a_name_that_is_none_is_a_clear_error():
    """A host that cannot be resolved names itself."""
    with pytest.raises(ListenError, match=r"cannot listen on no-such-host\.invalid:80: "):
        bind_all([Address("no-such-host.invalid", 80)], 1)


def test_an_address_of_another_machine_is_a_clear_error():
    """192.0.2.0/24 is nobody's (RFC 5737)."""
    with pytest.raises(ListenError, match="this machine does not have that address"):
        bind_all([Address("192.0.2.1", 0)], 1)


def test_unix_sockets_are_shared_and_removed(short_path):
    """All workers accept from one socket, whose file goes with the gate."""
    listeners = bind_all([unix(short_path)], 2)
    assert listeners.of(0) == listeners.of(1)
    assert short_path.is_socket()
    listeners.close()
    listeners.remove_files()
    assert not short_path.exists()


def test_a_stale_socket_file_is_replaced(short_path):
    """What a killed gate left behind does not keep the next one from starting."""
    bind_all([unix(short_path)], 1).close()
    assert short_path.is_socket()
    again = bind_all([unix(short_path)], 1)
    again.close()
    again.remove_files()
    assert not short_path.exists()


def test_a_living_socket_file_is_an_error(short_path):
    """Another gate's socket is not taken away from it."""
    first = bind_all([unix(short_path)], 1)
    with pytest.raises(ListenError, match="another process is listening there"):
        bind_all([unix(short_path)], 1)
    first.close()
    first.remove_files()


def test_a_file_that_is_no_socket_is_left_alone(short_path):
    """A wrong path in the configuration must not cost anybody a file."""
    short_path.write_text("precious")
    with pytest.raises(ListenError, match="no socket"):
        bind_all([unix(short_path)], 1)
    assert "precious" == short_path.read_text()


def test_another_gates_socket_file_is_not_removed(short_path):
    """If somebody replaced the file meanwhile, it is theirs."""
    first = bind_all([unix(short_path)], 1)
    short_path.unlink()
    second = bind_all([unix(short_path)], 1)
    first.close()
    first.remove_files()
    assert short_path.exists()
    second.close()
    second.remove_files()


def test_a_socket_path_that_is_too_long_says_so(tmp_path):
    """A unix socket's path has room for 107 bytes; the kernel's own message is none."""
    path = tmp_path / ("x" * 120)
    with pytest.raises(ListenError, match="has room for 107"):
        bind_all([unix(path)], 1)


def test_a_missing_directory_says_so(short_path):
    """The reason stands in the message."""
    with pytest.raises(ListenError, match="its directory does not exist"):
        bind_all([unix(Path("missing/s"))], 1)


@pytest.mark.skipif(not HAS_BALANCED_REUSEPORT, reason="the kernel does not spread connections")
def test_a_worker_that_rests_is_given_no_connection_until_it_listens_again():
    """All go to the others meanwhile, and nobody is refused."""
    listeners = bind_all([ANYWHERE], 2)
    place = ("127.0.0.1", listeners.addresses[0].port)
    (one,), (other,) = listeners.of(0), listeners.of(1)

    def accepted(sock):
        count = 0
        while True:
            try:
                with sock.accept()[0] as line:
                    line.setblocking(False)
                    with pytest.raises(BlockingIOError):
                        line.recv(1)  # whoever has come may still say something
            except OSError:  # there is none, or the socket rests
                return count
            count += 1

    try:
        for _ in range(3):
            listeners.rest(0)
        with contextlib.ExitStack() as stack:
            for _ in range(32):
                stack.enter_context(closing(socket.create_connection(place)))
            assert [0, 32] == [accepted(one), accepted(other)]
        one.listen(64)
        with contextlib.ExitStack() as stack:
            for _ in range(32):
                stack.enter_context(closing(socket.create_connection(place)))
            assert accepted(one) > 0
    finally:
        listeners.close()
