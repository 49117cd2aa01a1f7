"""Studies: how training fails and what cures it, and how fast it learns beside its peer."""
