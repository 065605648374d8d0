"""Databases for processes that share them."""

from __future__ import annotations

from tests.processes.databases import database, postgres, postgres_server

__all__ = ["database", "postgres", "postgres_server"]
