"""Going back: is the journal what was written, do the views say what it says, what happened to a run, and why.

The room promises to change nothing that happened: it reads the journal, and of all tables it writes only those of the
views, which are made of the journal anyway.

The four calls that matter:

    verify_journal(journal)                      # every leaf, chain, node and the root computed again, or CorruptRecord
    rebuild_views(journal)                       # views made anew beside the live ones, compared, swapped in
    ReplayService(journal, runs).explain_run(request)   # a run's events up to a moment, as data and as sentences
    diff_run(runs, flow_run_id, "flow_run", 80, 120)   # what two revisions of a run do not have in common
"""
