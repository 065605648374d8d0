"""Running the user's code, through a client.

Orchestration is written once, as generators (`flow_loop`, `task_loop`) that yield effects: propose a state, call the
user's function, sleep, wait for runs. A driver performs them: `drive_sync` in the caller's thread, `drive_async` in the
caller's event loop, `pool` for many tasks at once on few threads; tests have one with virtual time.
"""
