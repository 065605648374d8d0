"""The command line, on real journals and a real server."""
