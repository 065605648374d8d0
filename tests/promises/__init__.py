"""The promises of the design, each under its own name."""
