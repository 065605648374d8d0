"""Tests with real processes: servers that are killed, processes that share a database, disks that are full."""
