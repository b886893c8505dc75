"""What at least two papers share: schemas, runs, claims, data, hardware. Knows no paper."""

__version__ = "0.1.0"
