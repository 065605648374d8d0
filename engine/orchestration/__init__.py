"""What may happen: rules, policy, and the decision inside the append transaction.

The room promises that every proposal leaves exactly one decision record, with the rule that decided, all rules that
fired, the policy's id and the facts used; that decisions are pure; and that the same request has the same answer for
ever.

The three calls that matter:

    orchestrator = Orchestrator.open("journal.db")                     # a database as a working orchestrator
    orchestrator.orchestration.propose_state(request, caller)          # a future of the answer, durable when it comes
    decide(subject, facts, command, policy)                            # the pure middle of it

Order of reading: rules/, policy.py, decide.py; then handler.py, which calls it on what facts.py gathers; commands.py
and contents.py, which check what comes in.
"""
