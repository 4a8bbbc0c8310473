"""Headless Chromium, driven over a pipe by its own DevTools protocol: a test needs nothing but the browser."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 60


def find() -> str | None:
    """The executable; none on Windows, where a process cannot be given pipes at descriptors 3 and 4."""
    return None if os.name == "nt" else next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page in a browser of its own. `events` are what it has told of since the page was opened."""

    def __init__(self, profile: Path) -> None:
        command = [find(), "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"]
        command += ["--disable-dev-shm-usage", f"--user-data-dir={profile}", "--window-size=1200,800"]
        # It reads at descriptor 3 and writes at 4.
        self.process = subprocess.Popen(
            ["sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1', "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.watchdog = threading.Timer(SECONDS, self.process.kill)
        self.watchdog.start()
        self.events: list[dict[str, Any]] = []
        self.unread = b""
        self.calls = 0
        self.session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.session = {"sessionId": session}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exception: object) -> None:
        self.watchdog.cancel()
        self.process.kill()
        self.process.communicate()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Do one thing; what comes back."""
        self.calls += 1
        message = {"id": self.calls, "method": method, "params": params, **self.session}
        self.process.stdin.write(json.dumps(message).encode() + b"\0")
        self.process.stdin.flush()
        while (answer := self._receive()).get("id") != self.calls:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.unread:
            part = self.process.stdout.read1(1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self.unread += part
        message, self.unread = self.unread.split(b"\0", 1)
        return json.loads(message)

    def open(self, url: str) -> None:
        """Go there, and wait until the page has loaded."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        while "Page.loadEventFired" not in [event.get("method") for event in self.events]:
            self.events.append(self._receive())

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"]["description"])
        return result["result"].get("value")

    def prefer(self, scheme: str) -> None:
        """light or dark"""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def hover(self, element: str) -> None:
        """Move the pointer to the middle of what this expression is."""
        place = self.run(
            f"(e => (e.scrollIntoView({{block: 'center'}}), r = e.getBoundingClientRect(), "
            f"{{x: r.x + r.width / 2, y: r.y + r.height / 2}}))({element})"
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **place)

    def click(self, element: str) -> None:
        self.hover(element)
        place = self.run(f"(r => ({{x: r.x + r.width / 2, y: r.y + r.height / 2}}))({element}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def fill(self, element: str, value: object) -> None:
        """Give an input or a select this value, as a user does."""
        events = "e.dispatchEvent(new Event('input')), e.dispatchEvent(new Event('change'))"
        self.run(f"(e => (e.value = {json.dumps(value)}, {events}))({element})")

    def press(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def settle(self, seconds: float = 0.2) -> None:
        """Give a request or an error that is on its way the time to show."""
        time.sleep(seconds)
        self.run("0")
