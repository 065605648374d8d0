"""`python -m tests.contract.baseline`: at a release, today's contract becomes what later ones are compared with.

Refused when today's contract breaks the present baseline, unless `--break` says that it is meant.
"""

from __future__ import annotations

import sys

from tests.contract.compatibility import BASELINE, CURRENT, breaking_changes, load


def main(arguments: list[str]) -> int:
    """Write the baseline. Returns the exit status: 1 when refused."""
    current = load(CURRENT)
    broken = breaking_changes(load(BASELINE), current) if BASELINE.exists() else []
    if broken and "--break" not in arguments:
        print("\n".join([*broken, "Not written: this breaks clients of the last release. --break if that is meant."]))
        return 1
    BASELINE.write_bytes(current.SerializeToString(deterministic=True))
    print(f"{BASELINE.name}: {sum(len(file.service) for file in current.file)} services, {len(current.file)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
