"""usage: rootlm schema > recipe.schema.json

Put `# yaml-language-server: $schema=recipe.schema.json` on a recipe's first line and the editor completes and
checks it.
"""

import json

from rootlm.cli.arguments import parse
from rootlm.core.config import Config, json_schema


class Settings(Config):
    """There is nothing to set."""


def run(tokens: list[str]) -> int | None:
    """Print the JSON Schema of a recipe."""
    from rootlm.runs.recipe import Recipe

    parse(tokens, Settings)
    print(json.dumps(json_schema(Recipe), indent=2, ensure_ascii=False))
    return None
