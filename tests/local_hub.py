"""A hub of models on this machine, as far as the client of Hugging Face's asks for files."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c" * 40


@dataclass
class LocalHub:
    """What lies on the hub, and what was asked of it."""

    repositories: dict[str, Path]
    token: str
    """Without it nothing is given."""
    breaks_after: int | None = None
    """After how many bytes of a file of weights the line breaks, once."""
    address: str = ""
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and range of every request."""


@contextmanager
def local_hub(repositories: dict[str, Path], token: str) -> Iterator[LocalHub]:
    """Serve folders as repositories until the block ends."""
    hub = LocalHub(repositories, token)

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append((self.command, path, self.headers.get("Range")))
            if self.headers.get("Authorization") != f"Bearer {hub.token}":
                self.say(401, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
                return
            for name, folder in hub.repositories.items():
                if re.fullmatch(rf"/api/models/{name}(/revision/[^/]+)?", path):
                    files = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
                    told = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
                    self.say(200, json.dumps(told).encode(), {"Content-Type": "application/json"})
                    return
                if re.fullmatch(rf"/api/models/{name}/tree/[^/]+", path):
                    files = [file for file in folder.rglob("*") if file.is_file()]
                    tree = [
                        {
                            "type": "file",
                            "path": str(file.relative_to(folder)),
                            "size": file.stat().st_size,
                            "oid": "0",
                        }
                        for file in files
                    ]
                    self.say(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
                    return
                found = re.fullmatch(rf"/{name}/resolve/[^/]+/(.+)", path)
                if found and (folder / found[1]).is_file():
                    self.give(folder / found[1], body=body)
                    return
            self.say(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        def give(self, file: Path, *, body: bool) -> None:
            content = file.read_bytes()
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            begin = int((self.headers.get("Range") or "bytes=0-")[6:].partition("-")[0])
            rest = content[begin:]
            if begin:
                headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            if body and hub.breaks_after is not None and file.suffix == ".safetensors":
                self.say(200, rest[: hub.breaks_after], headers, length=len(rest))
                hub.breaks_after, self.close_connection = None, True
                return
            self.say(206 if begin else 200, rest if body else b"", headers, length=len(rest))

        def say(self, status: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
            self.send_response(status)
            for name, value in {
                "Content-Length": str(len(body) if length is None else length),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()
