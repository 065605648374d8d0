"""Going back: verification, rebuild, difference; on real databases of both kinds."""
