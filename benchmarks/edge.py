"""The server beside a bare echo of the same message, under the same client process, in alternating rounds.

Ratios are taken within a round, so that a machine that slows down slows both; figures are medians over rounds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.progress import Steps
from benchmarks.servers import Server, echo_server, playhead_server

KEYS = ("echo_unary_rps", "unary_rps", "unary_ratio", "p50_ratio", "stream_pps", "stream_ratio")
ROUNDS = 7


def measure(steps: Steps, *, quick: bool) -> dict[str, float]:
    """The figures of `KEYS`. Takes about a minute."""
    rounds, scale = (2, 0.2) if quick else (ROUNDS, 1.0)
    measured = []
    with (
        tempfile.TemporaryDirectory() as folder,
        echo_server(Path(folder)) as echo,
        playhead_server(Path(folder)) as playhead,
        steps.step("echo and server in turn", rounds) as advance,
    ):
        for _ in range(rounds):
            measured.append(_compared(load(echo, "echo", scale), load(playhead, "playhead", scale)))
            advance()
    return {key: median(figures[key] for figures in measured) for key in KEYS}


def load(server: Server, kind: str, scale: float) -> dict[str, float]:
    """What a client process of its own measures: see `benchmarks.load`."""
    command = [sys.executable, "-m", "benchmarks.load", server.address, kind, str(scale)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, float] = json.loads(output)
    return figures


def _compared(echo: dict[str, float], playhead: dict[str, float]) -> dict[str, float]:
    return {
        "echo_unary_rps": echo["unary_rps"],
        "unary_rps": playhead["unary_rps"],
        "unary_ratio": playhead["unary_rps"] / echo["unary_rps"],
        "p50_ratio": playhead["p50_ms"] / echo["p50_ms"],
        "stream_pps": playhead["stream_pps"],
        "stream_ratio": playhead["stream_pps"] / echo["unary_rps"],
    }
