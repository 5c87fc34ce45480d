"""A headless Chromium, spoken to over its DevTools pipe; no package is needed."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from until import LONGEST

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell")


def find() -> str | None:
    """The path of a Chromium or Chrome; None where there is none."""
    return os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, NAMES)), None
    )


class Browser:
    """One page of a browser, which is closed with the `with` block."""

    def __enter__(self):
        self._profile = tempfile.mkdtemp()
        read, self._to = os.pipe()
        self._from, write = os.pipe()
        # The browser reads from descriptor 3 and writes to 4.
        command = f'exec "$@" 3<&{read} 4>&{write}'
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += ["--remote-debugging-pipe", f"--user-data-dir={self._profile}"]
        flags += ["--no-first-run", "--disable-dev-shm-usage", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", command, "browser", find(), *flags],
            pass_fds=(read, write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        self._ids, self._rest, self.events = itertools.count(1), b"", []
        targets = self._ask("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self._ask("Browser.close")
        self._process.wait(LONGEST)
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method, **params):
        """Calls a method of the page; returns its result."""
        return self._ask(method, self._session, **params)

    def open(self, file: Path, width: int) -> None:
        """Loads a page in a window of a width, and forgets earlier events."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.events.clear()
        self.send("Page.navigate", url=file.resolve().as_uri())
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            self._receive()

    def run(self, expression: str):
        """Evaluates JavaScript; returns its value."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self, file: Path, grey: bool = False) -> None:
        """Writes the whole page as PNG."""
        vision = "achromatopsia" if grey else "none"
        self.send("Emulation.setEmulatedVisionDeficiency", type=vision)
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "scale": 1} | {k: size[k] for k in ("width", "height")}
        data = self.send(
            "Page.captureScreenshot", captureBeyondViewport=True, clip=clip
        )["data"]
        file.write_bytes(base64.b64decode(data))

    def pdf(self, file: Path) -> None:
        """Prints the page."""
        data = self.send("Page.printToPDF", preferCSSPageSize=True)["data"]
        file.write_bytes(base64.b64decode(data))

    def complaints(self) -> list[str]:
        """What the console says, and what was asked of the network."""
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event["method"] in ("Runtime.consoleAPICalled", "Log.entryAdded"):
                found.append(json.dumps(params))
            elif event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(params))
            elif event["method"] == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith(("file:", "data:")):
                    found.append(url)
        return found

    def _ask(self, method, session=None, **params):
        id_ = next(self._ids)
        message = {"id": id_, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == id_:
                assert "error" not in answer, answer
                return answer["result"]

    def _receive(self) -> dict:
        while b"\0" not in self._rest:
            read = os.read(self._from, 1 << 20)
            assert read, "the browser has gone"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        answer = json.loads(message)
        if "method" in answer:
            self.events.append(answer)
        return answer
