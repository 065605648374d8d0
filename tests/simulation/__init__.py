"""A seeded simulation of the whole orchestration: see docs/simulation.md."""
