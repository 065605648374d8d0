"""The specification of the decision core: given facts, when proposed, then decision."""
