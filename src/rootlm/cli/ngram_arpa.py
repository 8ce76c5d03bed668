"""rootlm ngram arpa RUN out=FILE.arpa[.gz]
usage: rootlm ngram arpa TEXT out=FILE.arpa[.gz] [order=5] [smoothing.kind=…] [pruning.entropy=…]

Writes n-grams in the format that every n-gram tool reads: those of a finished run, or of a text with a sentence on
each line and spaces between its words, as `rootlm data words` writes it. What leaves a run is opened again, by KenLM
where it is installed, and its probabilities are compared.

  rootlm ngram arpa runs/five out=five.arpa.gz
  rootlm ngram arpa words.txt out=words.arpa order=3 smoothing.kind=witten_bell
"""

from __future__ import annotations

from rootlm.cli.arguments import parse
from rootlm.models.ngram_settings import NgramConfig


class Settings(NgramConfig):
    """All that can be set; order, smoothing and pruning are for a text, a run has its own."""

    source: str
    """A run folder, or a file of text."""
    out: str
    """The file to write; packed where its name ends in .gz."""


def run(tokens: list[str]) -> None:
    """Write the file and print what it holds."""
    from pathlib import Path

    settings, _ = parse(tokens, Settings, ["source"])
    source, out = Path(settings.source), Path(settings.out)
    if source.is_dir():
        from rootlm.runs.classical_exported import export_ngrams
        from rootlm.runs.opened import load  # which needs torch; a text does not

        print(f"{out}: {export_ngrams(load(source), out)}")
        return
    from rootlm.runs.arpa_writing import arpa_of_text

    chosen = {name: getattr(settings, name) for name in NgramConfig.model_fields}
    tables = arpa_of_text(source, out, NgramConfig(**chosen), lambda text: print(f"note: {text}"))
    print(f"{out}: " + ", ".join(f"{size:,} {order}-grams" for order, size in enumerate(tables.sizes, 1)))
