"""Stands for a process of the fork server: passes on its streams, signals and exit status. `fork_server.py` says why.

It runs as `python -I -S fork_launcher.py SOCKET ARGUMENT…`, so it imports next to nothing.
"""

import marshal
import os
import signal
import socket
import sys

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> None:
    path, *arguments = sys.argv[1:]
    request = marshal.dumps((arguments, os.getcwd(), dict(os.environ)))  # noqa: PTH109 - pathlib takes long to import
    server = socket.socket(socket.AF_UNIX)
    server.connect(path)
    for number in FORWARDED:
        signal.signal(number, lambda number, _: server.send(bytes([number])))
    socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(request)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # the fork has them; each must end when it ends it
        os.dup2(nothing, stream)
    status = int.from_bytes(server.recv(4), "big", signed=True)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    main()
