"""A Chromium that tests drive, by the DevTools protocol over two pipes: no port, no further package.

https://chromedevtools.github.io/devtools-protocol/ and Chromium's ``--remote-debugging-pipe``: it reads from
descriptor 3 and writes to descriptor 4, JSON with a NUL after each message.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

type Json = Any  # what the protocol carries has too many shapes to be worth naming

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # as root, as in most containers, it starts with none; the pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)
_HIGH = 32
"""Our ends of the pipes lie above the descriptors that Chromium expects."""


def program() -> str | None:
    """Where Chromium is, if it is installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Failed(Exception):
    """Chromium said no, or said nothing in time."""


@dataclass(slots=True)
class Page:
    """One tab. What it says meanwhile is kept in ``events``."""

    browser: "Browser"
    session: str
    events: list[Json] = field(default_factory=list)

    def call(self, method: str, **params: object) -> Json:
        """One command, and its answer."""
        return self.browser.call(method, params, self.session)

    def open(self, path: Path) -> None:
        """Load a file and wait until it is there."""
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        self.browser.until(lambda: any(event["method"] == "Page.loadEventFired" for event in self.events))

    def run(self, script: str) -> Json:
        """The value of an expression; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise Failed(answer["exceptionDetails"].get("exception", {}).get("description", "it threw"))
        return answer["result"].get("value")

    def size(self, width: int, height: int, *, scale: float = 1, mobile: bool = False) -> None:
        """Show the page in a window of this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )

    def media(self, **features: str) -> None:
        """What the reader prefers, such as ``prefers_color_scheme="dark"``."""
        said = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=said)

    def key(self, key: str, *, code: int = 0, text: str = "", modifiers: int = 0) -> None:
        """Press a key."""
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def type(self, text: str) -> None:
        """Write into what has the focus."""
        self.call("Input.insertText", text=text)

    def picture(self, path: Path, *, height: float, top: float = 0) -> None:
        """Write a strip of the page as PNG, also what the window does not show."""
        width = self.run("innerWidth")
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def of(self, method: str) -> list[Json]:
        """What was said under this name since the page was opened."""
        return [event["params"] for event in self.events if event["method"] == method]

    def trouble(self) -> list[str]:
        """Everything that a developer would see in red: errors, refusals of the policy, warnings."""
        said = [json.dumps(each) for each in self.of("Runtime.exceptionThrown") + self.of("Audits.issueAdded")]
        said += [
            json.dumps(each) for each in self.of("Log.entryAdded") if each["entry"]["level"] in {"error", "warning"}
        ]
        return said + [json.dumps(each) for each in self.of("Runtime.consoleAPICalled")]

    def requests(self) -> list[str]:
        """Every address that was asked for."""
        return [each["request"]["url"] for each in self.of("Network.requestWillBeSent")]


@dataclass(slots=True)
class Browser:
    """A running Chromium."""

    process: int
    _to: int
    _from: int
    _last: int = 0
    _buffer: bytes = b""
    _answers: dict[int, Json] = field(default_factory=dict)
    _pages: dict[str, Page] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def start(cls, profile: Path) -> Iterator[Self]:
        """Start it with a fresh profile, and end it and all it started."""
        found = program()
        if found is None:
            msg = "Chromium is not installed (Debian, Ubuntu: apt install chromium)."
            raise Failed(msg)
        theirs_in, ours_out = _pipe()
        ours_in, theirs_out = _pipe()
        quiet = os.open(os.devnull, os.O_RDWR)
        process = os.posix_spawn(
            found,
            [found, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            os.environ,
            file_actions=[
                *((os.POSIX_SPAWN_DUP2, quiet, stream) for stream in (0, 1, 2)),
                (os.POSIX_SPAWN_DUP2, theirs_in, 3),
                (os.POSIX_SPAWN_DUP2, theirs_out, 4),
            ],
            setpgroup=0,
        )
        for descriptor in (theirs_in, theirs_out, quiet):
            os.close(descriptor)
        browser = cls(process, ours_out, ours_in)
        try:
            yield browser
        finally:
            browser._end()

    def call(self, method: str, params: dict[str, object] | None = None, session: str | None = None) -> Json:
        """One command, and its answer."""
        self._last += 1
        number = self._last
        said: dict[str, object] = {"id": number, "method": method, "params": params or {}}
        if session is not None:
            said["sessionId"] = session
        raw = json.dumps(said).encode() + b"\0"
        while raw:
            raw = raw[os.write(self._to, raw) :]
        self.until(lambda: number in self._answers)
        answer = self._answers.pop(number)
        if "error" in answer:
            msg = f"{method}: {answer['error'].get('message')}"
            raise Failed(msg)
        return answer.get("result", {})

    def page(self) -> Page:
        """A new tab that tells all it has to say."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            page.call(f"{domain}.enable")
        return page

    def until(self, condition: Any, seconds: float = 60) -> None:  # noqa: ANN401 - any function without arguments
        """Read what Chromium says until the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._from], [], [], left)[0]:
                msg = f"Chromium did not answer within {seconds:g} seconds."
                raise Failed(msg)
            self._read()

    def _read(self) -> None:
        raw = os.read(self._from, 1 << 20)
        if not raw:
            msg = "Chromium is gone."
            raise Failed(msg)
        *whole, self._buffer = (self._buffer + raw).split(b"\0")
        for each in whole:
            said = json.loads(each)
            if "id" in said:
                self._answers[said["id"]] = said
            elif said.get("sessionId") in self._pages:
                self._pages[said["sessionId"]].events.append(said)

    def _end(self) -> None:
        with suppress(Failed, OSError):
            self.call("Browser.close")
        os.close(self._to)
        os.close(self._from)
        # It leads a group of its own: what it started goes with it.
        with suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)


def _pipe() -> tuple[int, int]:
    """A pipe of which Chromium inherits nothing but what it is given."""
    pair = []
    for low in os.pipe():
        pair.append(fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _HIGH))
        os.close(low)
    return pair[0], pair[1]
