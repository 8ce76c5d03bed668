"""datatrove as a contestant: the same limits and the same bands, as its own MinHash example lays the stages out.

python -m benchmarks.datatrove_side raw=FOLDER out=FOLDER workers=2 bands=24 rows=5 filters=true
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    raw: str
    """The folder of .jsonl files; each is a task."""
    out: str
    """The folder to write."""
    workers: int = Field(2, ge=1)
    """Processes."""
    bands: int = 24
    """Bands of a signature."""
    rows: int = 5
    """Hashes per band."""
    filters: bool = True
    """Gopher's repetition and quality limits before the duplicates."""


def main(settings: Settings) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig

    out, tasks = Path(settings.out), len(list(Path(settings.raw).glob("*.jsonl")))
    config = MinhashConfig(
        hash_config=HashConfig(precision=64),
        n_grams=5,
        num_buckets=settings.bands,
        hashes_per_bucket=settings.rows,
    )

    def run(name: str, steps: list[object], count: int) -> None:
        LocalPipelineExecutor(
            pipeline=steps,  # type: ignore[arg-type]
            tasks=count,
            workers=min(settings.workers, count),
            logging_dir=str(out / "logs" / name),
        ).run()

    started = time.perf_counter()
    source = settings.raw
    if settings.filters:
        source = str(out / "filtered")
        limits = [GopherRepetitionFilter(), GopherQualityFilter()]
        run("filter", [JsonlReader(settings.raw), *limits, JsonlWriter(source, compression=None)], tasks)
    signatures, buckets, removed = (str(out / name) for name in ("signatures", "buckets", "removed"))
    run("signatures", [JsonlReader(source), MinhashDedupSignature(signatures, config=config)], tasks)
    run("buckets", [MinhashDedupBuckets(signatures, buckets, config=config)], settings.bands)
    run("cluster", [MinhashDedupCluster(buckets, removed, config=config)], 1)
    kept = JsonlWriter(str(out / "kept"), compression="zstd")
    run("keep", [JsonlReader(source), MinhashDedupFilter(removed), kept], tasks)
    print(json.dumps({"seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(parse(sys.argv[1:], Settings)[0])
