"""How the work is cut, done in many processes, and gone on with after an interruption."""
