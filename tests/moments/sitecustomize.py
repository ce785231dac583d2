"""Ends a process at a moment of its own: ``MOMENT`` is a call of os, which one, and what comes.

A signal comes before that call; with a number of bytes, the kernel ends the process when a file
grows past that size after the call. Read by every Python process that has this folder on
PYTHONPATH.
"""

import os
import resource
import signal

call, number, what = os.environ["MOMENT"].split()
real, count = getattr(os, call), 0


def counted(*arguments):
    global count
    count += 1
    if count == int(number) and what.isdigit():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(what), int(what)))
    elif count == int(number):
        os.kill(os.getpid(), getattr(signal, what))
    return real(*arguments)


setattr(os, call, counted)
