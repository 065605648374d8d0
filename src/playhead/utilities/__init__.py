"""Small things that authors of flows use: annotations of arguments."""
