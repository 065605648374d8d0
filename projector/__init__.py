"""What is true, now or at any revision: folds of the journal.

The views promise that folding events 1 … r gives exactly what reads show as of r, on both databases, and that they can
be thrown away and rebuilt. Every read names its moment, and reading the past costs what reading the present costs.

The three calls that matter:

    fold = Fold(); fold.apply(record, event); fold.flush(write)     # events in, rows out, in the append transaction
    RunsService(journal).list_flow_runs(request)                    # any Get, List or Count, as of any revision
    open_views(journal)                                             # the tables, made, checked or rebuilt
"""
