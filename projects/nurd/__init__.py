"""NURD."""
