"""The performance budget, measured: `python -m benchmarks [--json FILE] [--only KEY …] [--quick]`.

Each line of `budget.LINES` is a figure and, for most, a bound. What is compared is measured in the same call: a server
beside a bare gRPC echo in alternating rounds, the past beside the present. Figures are medians. They are only worth
comparing when nothing else runs.

    edge.py      a server and an echo, each in a process of its own, under the same client process
    sdk.py       flows and tasks, embedded
    process.py   importing, and a whole `python hello.py`
    history.py   a journal of a million events: rebuilding its views, reading its past, the memory of its server
"""
