"""What a user's environment gets: one import package with everything in it, and imports that load little."""
