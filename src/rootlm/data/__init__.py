"""Ids to batches: a memory-mapped store, packing, a loader that resumes at any step."""
