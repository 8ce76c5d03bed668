"""The peer of redaction: presidio-analyzer with its pattern recognisers. Runs in an environment of its own.

    python benchmarks/presidio_side.py FILE     FILE: a JSON list of texts; the last line printed has the numbers

No language model is loaded, for that would need a download and is much slower: an engine without tokens stands
in, so recognisers that read words (names, places) find nothing, and words of context raise no score. All
scores count, which gives presidio its highest recall. Only the recognisers of the kinds in the tables run.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tldextract
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

KINDS = {
    "CREDIT_CARD": "bank_card",
    "EMAIL_ADDRESS": "email",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip",
    "MAC_ADDRESS": "mac",
    "PHONE_NUMBER": "phone",
    "URL": "url",
    "US_PASSPORT": "passport",
    "US_SSN": "ssn",
}
_SECONDS = 2.0


class NoTokens(NlpEngine):
    """An engine that reads nothing, so that the patterns work alone and offline."""

    def load(self) -> None:
        """Nothing to load."""

    def is_loaded(self) -> bool:
        return True

    def process_text(self, text: str, language: str) -> NlpArtifacts:
        return NlpArtifacts([], [], [], [], self, language)

    def process_batch(
        self, texts: Iterable[str], language: str, batch_size: int = 1, n_process: int = 1, **_: Any
    ) -> Iterator[tuple[str, NlpArtifacts]]:
        for text in texts:
            yield text, self.process_text(text, language)

    def is_stopword(self, word: str, language: str) -> bool:
        return False

    def is_punct(self, word: str, language: str) -> bool:
        return False

    def get_supported_entities(self) -> list[str]:
        return []

    def get_supported_languages(self) -> list[str]:
        return ["en"]


def main(file: Path) -> None:
    texts = json.loads(file.read_text(encoding="utf-8"))
    logging.disable(logging.WARNING)
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    engine = NoTokens()
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=engine)
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
    known = {entity for recogniser in registry.recognizers for entity in recogniser.supported_entities}
    wanted = [entity for entity in KINDS if entity in known]
    for text in texts[:20]:
        analyzer.analyze(text, language="en", entities=wanted)
    found, rounds, started = [], 0, time.perf_counter()
    while rounds == 0 or time.perf_counter() - started < _SECONDS:
        found = [analyzer.analyze(text, language="en", entities=wanted) for text in texts]
        rounds += 1
    seconds = time.perf_counter() - started
    size = rounds * sum(len(text.encode()) for text in texts)
    values = [[(KINDS[one.entity_type], one.start, one.end) for one in ones] for ones in found]
    print(json.dumps({"megabytes_per_second": size / 1e6 / seconds, "found": values, "kinds": wanted}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
