"""What may happen: the rules, the policies that order them, and the decision.

    decide(subject, facts, command, policy) -> v1.StateProposed      answers one proposal, purely
    core_policy() -> Policy                                          the rules that apply unless others are chosen

A *proposal* asks for a state; a *decision* accepts it, refuses it, puts another state in its place, asks to wait, or
tells the caller to stop. *Facts* are all that the rules are told, and are recorded with the decision. Read `decide`,
then `policy`, then the table in `rules`.
"""
