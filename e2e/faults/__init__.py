"""Faults under load, with every acknowledged message counted afterwards: `make faults`."""
