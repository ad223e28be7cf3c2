"""A headless Chromium over the DevTools protocol, on a pipe: no driver, no package, no port."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--disable-gpu",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


def executable() -> str:
    """Chromium's path; skips the test where there is none. TGSEQ_CHROMIUM names another one."""
    for name in (os.environ.get("TGSEQ_CHROMIUM", ""), *NAMES):
        found = shutil.which(name) if name else None
        if found:
            return found
    pytest.skip("no Chromium on PATH (or in TGSEQ_CHROMIUM): pages are tested in a real browser only")


class Browser:
    """`open(path)` loads a page; `value(expression)` is JavaScript's answer; `requests` is everything fetched."""

    def __init__(self) -> None:
        self.home = tempfile.TemporaryDirectory(prefix="tgseq-chromium-", ignore_cleanup_errors=True)
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()

        low = [os.dup(fd) for fd in (theirs_in, theirs_out)]  # the protocol wants descriptors 3 and 4
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [executable(), *FLAGS, *sandbox, f"--user-data-dir={self.home.name}", "about:blank"]
        shell = f'exec 3<&{low[0]} 4>&{low[1]}; exec "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command], pass_fds=low, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for fd in (*low, theirs_in, theirs_out):
            os.close(fd)
        self.reader, self.writer = ours_in, ours_out
        self.buffer = b""
        self.count = 0
        self.requests: list[str] = []
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = ""
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.reader)
        os.close(self.writer)
        self.home.cleanup()

    # ------------------------------------------------------------ protocol

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if getattr(self, "session", ""):
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        mine = self.count
        while True:
            event = self.receive()
            if event.get("id") == mine:
                if "error" in event:
                    raise RuntimeError(f"{method}: {event['error']['message']}")
                result: dict[str, Any] = event["result"]
                return result

    def receive(self, limit: float = 60.0) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.reader], [], [], limit)
            piece = os.read(self.reader, 1 << 16) if ready else b""
            if not piece:
                raise RuntimeError("Chromium gave no answer")
            self.buffer += piece
        text, _, self.buffer = self.buffer.partition(b"\0")
        event: dict[str, Any] = json.loads(text)
        method, params = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"].get("exception", {}).get("description")))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        return event

    # ------------------------------------------------------------ what tests say

    def open(self, path: Path, fragment: str = "") -> None:
        self.requests.clear()
        self.errors.clear()
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.resolve().as_uri() + fragment)
        deadline = time.monotonic() + 30
        while self.value("document.readyState + location.protocol") != "completefile:":
            if time.monotonic() > deadline:
                raise RuntimeError(f"{path} did not load")
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def settled(self, expression: str, wanted: Any) -> bool:
        """Whether the expression comes to have that value within two seconds."""
        deadline = time.monotonic() + 2
        while (found := self.value(expression)) != wanted and time.monotonic() < deadline:
            time.sleep(0.03)
        return bool(found == wanted)

    def click(self, name: str) -> None:
        self.value(f"document.getElementById({json.dumps(name)}).click()")

    def key(self, key: str) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=_CODES.get(key, 0))

    def names(self) -> list[dict[str, Any]]:
        """Role and accessible name of everything in the accessibility tree."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            {"role": n["role"]["value"], "name": n.get("name", {}).get("value", "")}
            for n in nodes
            if not n.get("ignored") and "role" in n
        ]


_CODES = {
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Home": 36,
    "End": 35,
    "Enter": 13,
    "Tab": 9,
}
CONTROLS = {"button", "slider", "link", "checkbox", "textbox", "combobox", "radio", "DisclosureTriangle"}
