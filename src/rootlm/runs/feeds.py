"""What training and validation read, by the kind of reading that an objective asks for."""

from __future__ import annotations

from collections.abc import Mapping

from rootlm.objectives.objective import Reads
from rootlm.runs.document_reading import ReadsDocuments
from rootlm.runs.pair_reading import ReadsPairs
from rootlm.runs.reader import Reader
from rootlm.runs.window_reading import ReadsWindows

READERS: Mapping[Reads, Reader] = {
    "windows": ReadsWindows(),
    "documents": ReadsDocuments(),
    "pairs": ReadsPairs(),
}
"""What makes each kind of reading."""
