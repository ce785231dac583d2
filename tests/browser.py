"""A headless Chromium, driven through chromedriver's HTTP interface (WebDriver), nothing else."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-quic", "--hide-scrollbars"),
)


class Page:
    """One browser window.

    Args:
        session: the address of its session.
    """

    def __init__(self, session: str):
        self._session = session

    def open(self, url: str) -> None:
        """Go to an address, forget what was logged before, wait until it is loaded."""
        _call("POST", f"{self._session}/url", {"url": "about:blank"})
        self.console()
        self.requests()
        _call("POST", f"{self._session}/url", {"url": url})

    def evaluate(self, script: str) -> Any:
        """The value that a function body returns in the page."""
        return _call("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    def wait(self, condition: str, seconds: float = 120) -> None:
        """Wait until an expression is true in the page."""
        until = time.monotonic() + seconds
        while not self.evaluate(f"return Boolean({condition})"):
            assert time.monotonic() < until, f"not within {seconds} s: {condition}"
            time.sleep(0.2)

    def console(self) -> list[str]:
        """Warnings and errors that were logged since the last call."""
        found = _call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in found]

    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call, those inside the page left out."""
        entries = _call("POST", f"{self._session}/se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in entries]
        urls = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]

    def screenshot(self, path: Path) -> None:
        """Write a picture of the window."""
        path.write_bytes(base64.b64decode(_call("GET", f"{self._session}/screenshot")))

    def resize(self, width: int, height: int) -> None:
        """Give the page this many pixels, also fewer than a window may have."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        """A command of the browser's own protocol."""
        body = {"cmd": name, "params": parameters}
        return _call("POST", f"{self._session}/goog/cdp/execute", body)


@contextlib.contextmanager
def browser(folder: Path, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """Start a browser with a profile of its own, and end it.

    Args:
        folder: for the profile.
        width: of the page, in pixels.
        height: of the page, in pixels.

    Yields:
        Its page.
    """
    assert DRIVER is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    driver = subprocess.Popen(
        [DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _await(f"{address}/status")
        session = f"{address}/session/{_start(address, folder)}"
        try:
            page = Page(session)
            page.resize(width, height)
            yield page
        finally:
            _call("DELETE", session)
    finally:
        driver.terminate()
        driver.wait(30)


def _start(address: str, folder: Path) -> str:
    options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={folder}"]}
    logs = {"browser": "WARNING", "performance": "ALL"}
    wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
    found = _call("POST", f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})
    return str(found["sessionId"])


def _await(url: str) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            if _call("GET", url)["ready"]:
                return
        except urllib.error.URLError:
            assert time.monotonic() < until, "chromedriver does not answer"
        time.sleep(0.1)


def _call(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, content, {"Content-Type": "application/json"}, method=method
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=180) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        with error:
            raise AssertionError(error.read().decode()) from error
