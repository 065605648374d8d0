"""The journal: one contract, both databases."""
