"""What happened: ordered, durable, provable. This room knows no orchestration rule.

The journal promises that revisions are gapless from 1 in commit order on both databases; that what was acknowledged is
on disk; that a request id has one recorded answer for ever; that nothing is overwritten; and that every event is a
leaf of one RFC 6962 Merkle tree, extended in the transaction that appends.

The three calls that matter:

    journal = Journal(open_database("journal.db"))       # made on first opening
    future = Writer(...).submit([command])               # decided, durable, then answered
    records = journal.read(1, journal.head()[0])         # what happened, forwards or backwards
"""
