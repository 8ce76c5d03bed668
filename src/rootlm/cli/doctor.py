"""rootlm doctor [folder=.] [json=true]

Says what this machine offers and what rootlm will do with it: device, precision, threads, memory, disk,
compiler, packages; and for everything that is wanting, the remedy.
"""

from __future__ import annotations

from pathlib import Path

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to look at and how to print it."""

    folder: str = "."
    """Where you mean to work; its disk is looked at."""
    json: bool = False  # type: ignore[assignment]
    """Print one JSON object instead of tables."""


def run(tokens: list[str]) -> int | None:
    """Print the diagnosis."""
    settings, _ = parse(tokens, Settings, ["folder"])
    from rootlm import __version__
    from rootlm.core.diagnosis import examine

    facts = examine(Path(settings.folder), __version__)
    if settings.json:
        import sys
        from dataclasses import asdict

        import orjson

        sys.stdout.write(
            orjson.dumps([asdict(fact) for fact in facts], option=orjson.OPT_INDENT_2).decode() + "\n"
        )
        return None
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for topic in dict.fromkeys(fact.topic for fact in facts):
        table = Table(title=topic, title_justify="left", title_style="bold", show_header=False, box=None)
        table.add_column(min_width=20, style="dim")
        table.add_column(overflow="fold")
        for fact in facts:
            if fact.topic == topic:
                text = Text(fact.value)
                if fact.why:
                    text.append(f"  {fact.why}", style="dim")
                if fact.remedy:
                    text.append(f"\n→ {fact.remedy}", style="yellow")
                table.add_row(fact.name, text)
        console.print(table)
        console.print()
    return None
