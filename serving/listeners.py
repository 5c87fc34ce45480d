"""TCP ports to listen on, alone or shared by several processes."""

import socket


def bind(host: str, port: int, *, share: bool = False) -> socket.socket:
    """Binds a socket, which does not listen yet, to a TCP port.

    Args:
        host: str. Address; one with a colon is of IPv6.
        port: int. The port; 0 takes a free one.
        share: bool. Whether other processes of this user may bind it too; then the
            system spreads connections over those that listen. Defaults to no.

    Returns:
        socket.

    Raises:
        OSError: the port is taken, or there is no such address or port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, or asyncio leaves Nagle's algorithm on: 40 ms for every answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if share:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise OSError(
            f"Cannot listen on {host}:{port}: {error}. Choose another port or host"
        ) from error
    return listener


def reserve(host: str, port: int) -> socket.socket:
    """Binds a port that others then share, but that is nobody's now.

    Raises:
        OSError: the port is taken, if only by somebody who would share it.
    """
    with bind(host, port) as alone:
        port = alone.getsockname()[1]
    return bind(host, port, share=True)
