"""Who holds an address that cannot be listened on, in words for a message. `proxy.py` and `addresses.py` ask."""

import psutil


def holder(address: tuple[str, int]) -> str:
    """Who listens on this address or on all addresses with this port, for a message."""
    everywhere = {address[0], "0.0.0.0", "::"}  # noqa: S104 - looked for, not bound
    for connection in psutil.net_connections(kind="tcp"):
        ip, port = (*connection.laddr, "", 0)[:2]
        if connection.status == psutil.CONN_LISTEN and port == address[1] and ip in everywhere:
            return f"{_program(connection.pid)}, on {ip}:{port}"
    return "another program"


def _program(pid: int | None) -> str:
    if pid is None:
        return "a process of another user"
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"
