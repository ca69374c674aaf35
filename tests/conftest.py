"""What all tests start from."""

from __future__ import annotations

import signal

# Under `nohup`, and in the background of a script, signals are ignored, and every child inherits that: tests that
# send one would wait for what never comes.
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)
