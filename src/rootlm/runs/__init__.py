"""A whole run: recipe to run folder, and a run folder opened again."""
