"""What a machine is, what it can measure and control, and an honest reason where it cannot."""
