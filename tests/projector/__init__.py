"""The views: folds of the journal, now and at any revision, on both databases."""
