"""Reserve loopback addresses for servers, held also before they start and between restarts."""

from __future__ import annotations

import platform
import random
import socket

from dr_assets.errors import DrError

TRIES = 20


def reserve(sites: tuple[str, str], port: int) -> tuple[dict[str, tuple[str, int]], list[socket.socket]]:
    """An (ip, port) for each site, and the sockets that hold them until closed.

    On Linux every site has an IP address of its own and all have the same port (`port` where it is free), so that names
    alone can move clients. The sockets are bound but never listen: a server can bind beside them, another program will not.
    Elsewhere only 127.0.0.1 is there and nothing can be held: two ports that were free.
    """
    if platform.system() != "Linux":
        probes = [bound("127.0.0.1", 0) for _ in sites]
        found = {site: ("127.0.0.1", int(probe.getsockname()[1])) for site, probe in zip(sites, probes, strict=True)}
        close(probes)
        return found, []
    for wanted in [port] * TRIES + [0] * TRIES:
        net = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}"
        held: list[socket.socket] = []
        try:
            held.append(bound(f"{net}.1", wanted))
            chosen = int(held[0].getsockname()[1])
            held.append(bound(f"{net}.2", chosen))
        except OSError:
            close(held)
            continue
        return {site: (f"{net}.{number}", chosen) for number, site in enumerate(sites, 1)}, held
    raise DrError("No loopback address is free for PostgreSQL: ports of 127.0.0.0/8 must be bindable.")


def bound(ip: str, port: int) -> socket.socket:
    """A bound socket. Raises OSError where another program has bound that address.

    SO_REUSEADDR comes after the bind: so the bind itself is exclusive, and a server may share the address all the same.
    """
    made = socket.socket()
    try:
        made.bind((ip, port))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError:
        made.close()
        raise
    return made


def free_port(ip: str) -> int:
    """A port that is free now."""
    with bound(ip, 0) as probe:
        return int(probe.getsockname()[1])


def close(sockets: list[socket.socket]) -> None:
    """Close them all."""
    for one in sockets:
        one.close()
