"""Slots of named concurrency limits around a stretch of code: `sync.concurrency`, `asyncio.concurrency`.

The limits are set with `playhead concurrency-limit set name:NAME SLOTS`.
"""
