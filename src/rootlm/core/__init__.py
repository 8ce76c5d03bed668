"""What every room stands on: configuration, files, device, workers, reports; it knows nothing of language."""
