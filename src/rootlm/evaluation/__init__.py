"""Likelihood on one scale, with intervals."""
