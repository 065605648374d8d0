"""What runs say: their log records, kept beside the journal and not in it.

There are too many of them to be events, and nothing is decided by them. They are stored in the order in which they
arrive, in tables of their own in the journal's database, and may be deleted there.

    logs.write_logs(request)     a batch, once
    logs.read_logs(request)      a page
    logs.follow_logs(request)    what is there, then what comes

Words: a *position* is a record's place in the order of all; a *writer* is a process that sends batches.
"""
