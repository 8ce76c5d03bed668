"""The same tasks on Ray Data: one machine or many that share a file system."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Generator, Iterable
from typing import Any, Self, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class RayData:
    """Runs tasks as rows of a Ray dataset; joins the cluster that RAY_ADDRESS names, or starts one here.

    The folder of the corpus must be one that all machines see. Raises ValueError when Ray is not installed.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._ray: Any = None
        self._started = False

    def __enter__(self) -> Self:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
        try:
            import ray
            import ray.data
        except ImportError:
            raise ValueError('engine=ray needs an extra: pip install "rootlm[ray]"') from None
        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is raised
        ray.data.DataContext.get_current().enable_progress_bars = False
        self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        return self

    def __exit__(self, *_: object) -> None:
        if self._started:
            self._ray.shutdown()

    def run(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result]:
        """Yield `work(task)` for every task, in order."""
        todo = list(tasks)
        if not todo:
            return

        # Tasks travel with the function and results as bytes: as columns they would come back as other types.
        def done(row: dict[str, Any]) -> dict[str, Any]:
            number = int(row["number"])
            try:
                return {"number": number, "result": pickle.dumps(work(todo[number])), "problem": ""}
            except ValueError as error:
                return {"number": number, "result": b"", "problem": str(error)}

        rows = [{"number": number} for number in range(len(todo))]
        made = self._ray.data.from_items(rows, override_num_blocks=len(rows)).map(done)
        waiting: dict[int, Result] = {}
        following = 0
        try:
            for row in made.iter_rows():
                if row["problem"]:
                    raise ValueError(row["problem"])
                waiting[int(row["number"])] = pickle.loads(row["result"])
                while following in waiting:
                    yield waiting.pop(following)
                    following += 1
        except self._ray.exceptions.RayError as error:
            said = str(error).strip().splitlines()[-1]
            raise ValueError(f"Ray stopped: {said}; look at its logs, or leave out engine=ray") from error
        assert not waiting
