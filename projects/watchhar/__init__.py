"""WatchHAR: Real-time On-device Human Activity Recognition System for Smartwatches: the public names."""

from projects.watchhar.method import method

__all__ = ["method"]
