"""Sampling transforms, the one decoding loop, beam search."""
