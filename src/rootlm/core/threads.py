"""How many CPU threads, and how they wait for each other; settled before torch is imported."""


def settle(verb: str) -> None:
    """Set the OpenMP environment for a verb, unless the person has set it."""
