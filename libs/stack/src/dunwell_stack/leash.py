"""Runs a program that dies with its parent: `leash.py SIGNAL PARENT UID:GID PROGRAM ARGUMENT...`.

Run as a script, by a bare interpreter, so that nothing is forked from a threaded Python. It first drops to the
user, because a change of user clears the death signal. Source: prctl(2), PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Tie this process to its parent and become the program; UID:GID may be `-` for no change."""
    death_signal, parent, user, *program = arguments
    if user != "-":
        uid, gid = map(int, user.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(death_signal))
        # The parent may have died before the request; then the signal would never come.
        if os.getppid() != int(parent):
            sys.exit(f"{program[0]} not started: the process that asked for it is gone")
    os.execvp(program[0], program)  # noqa: S606 - becoming the program is the purpose


if __name__ == "__main__":
    main(sys.argv[1:])
