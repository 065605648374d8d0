"""One of the processes that contend: `python -m tests.processes.contend_main ADDRESS SEED INDEX`.

It says "ready", waits for a line, contends and says what it found as JSON; waits for a revision and says what it sees
as of it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from tests.processes.contending import client_of, contend, seen


def main(address: str, seed: str, index: str) -> None:
    """Contend with the others."""
    client = client_of(address)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asdict(contend(client, int(seed), int(index)))), flush=True)
    print(json.dumps(seen(client, int(sys.stdin.readline()))), flush=True)
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
