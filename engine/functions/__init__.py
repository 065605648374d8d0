"""The functions of the engine of Prefect 2, each a door to the loops of `playhead.engine.execution`.

flows    from a call, or a run on record, to the state it ended in
tasks    from a call, or a run on record, to a future, a state or a result
inputs   futures and states among parameters; which run made an object
states   proposing states, reporting crashes, names of runs, what the engine asks before it begins

`playhead.engine` has them all. Where a parameter has no meaning here, because a run makes its own, it is taken and not
looked at: `user_thread`, `interruptible`, `partial_flow_run_context`, `result_factory`, `settings`. Without a `client`,
that of this process is used.
"""
