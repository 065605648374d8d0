"""Running the user's code and deciding what may happen to it."""
