"""What the graph papers share: event streams, keyed random projections, statistics of streams."""
