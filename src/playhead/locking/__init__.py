"""Locks on keys, for transactions that must not run beside each other.

protocol      what a lock manager is
memory        between the threads and tasks of one process
filesystem    between the processes that share a folder
service       between all that use one service: first come, first served, and freed when the holder's process dies
"""
