"""Headless Chromium on an exported page, served from this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

#: shows the page in a frame, reports its result, and is not loaded before: Chromium takes its picture then
HARNESS = """<!doctype html><style>* { margin: 0; border: 0 } iframe { width: 900px; height: 1300px }</style>
<iframe src="/index.html?QUERY"></iframe><img src="/wait" hidden><script>
const timer = setInterval(() => {
  const page = document.querySelector("iframe").contentDocument;
  const result = page?.getElementById("result")?.textContent, said = page?.getElementById("said")?.textContent ?? "";
  if (!result && !said.startsWith("This does not work")) return;
  clearInterval(timer);
  fetch("/result", { method: "POST", body: JSON.stringify({ said, result: result ? JSON.parse(result) : null }) });
}, 50);
</script>"""


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, query: str, answer: dict[str, Any], done: threading.Event, **more: Any):
        self.query, self.answer, self.done = query, answer, done
        super().__init__(*arguments, **more)

    def do_GET(self) -> None:
        if self.path == "/harness":
            body = HARNESS.replace("QUERY", self.query).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)
        elif self.path == "/wait":
            self.done.wait(120)
            self.send_error(404)
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self.answer.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()
        self.done.set()

    def log_message(self, *_: Any) -> None:
        pass


def open_page(folder: Path, query: str, screenshot: Path) -> dict[str, Any]:
    """What the page in `folder` says and finds, and a picture of it; skips where there is no Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium to look at the page with")
    answer: dict[str, Any] = {}
    handler = partial(_Handler, directory=str(folder), query=query, answer=answer, done=threading.Event())
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=900,1300",
             f"--screenshot={screenshot}", f"http://127.0.0.1:{server.server_address[1]}/harness"],
            capture_output=True, timeout=180, check=True,
        )  # fmt: skip
    finally:
        server.shutdown()
    return answer
