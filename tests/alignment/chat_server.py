"""A scripted chat server on loopback: it counts requests, and misbehaves as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], str]
"""From the body of a request to the text of the reply."""
FAULTS = ("429", "500", "slow", "malformed", "empty", "non-utf8", "cut", "no-choices")


class ChatServer(ThreadingHTTPServer):
    """Answers chat completions with ``answer``; the first requests have ``faults`` instead."""

    daemon_threads = True

    def __init__(self, answer: Answer, faults: Sequence[str] = (), port: int = 0) -> None:
        self.answer, self.faults = answer, list(faults)
        self.bodies: list[dict[str, Any]] = []
        self.answered: Counter[str] = Counter()
        """Body -> how often it was answered in a usable way."""
        self.lock = threading.Lock()
        self.logprobs: dict[str, float] | None = None
        self.refuse_with = 0
        self.outage_after: int | None = None
        """Usable answers after which every request gets HTTP 503."""
        self.slow_s = 0.5
        self.at_once = self.most_at_once = 0
        self.hold_s = 0.0
        self.usage: dict[str, int] | None = {"prompt_tokens": 100, "completion_tokens": 2}
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.bodies.append(body)
            fault = server.faults.pop(0) if server.faults else ""
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        time.sleep(server.hold_s)
        try:
            self._reply(body, fault)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with server.lock:
                server.at_once -= 1

    def _reply(self, body: dict[str, Any], fault: str) -> None:
        server = self.server
        answered = sum(server.answered.values())
        if server.outage_after is not None and answered >= server.outage_after:
            self._send(503, b"down for maintenance")
        elif server.refuse_with:
            self._send(server.refuse_with, b'{"error": "no such\n model"}')
        elif fault in ("429", "500"):
            self._send(int(fault), b"busy", {"Retry-After": "0"})
        elif fault == "slow":
            time.sleep(server.slow_s)
            self._send(200, b"{}")
        elif fault == "malformed":
            self._send(200, b'{"choices": [')
        elif fault == "empty":
            self._send(200, b"")
        elif fault == "non-utf8":
            self._send(200, b'{"choices": [{"message": {"content": "\xff\xfe"}}]}')
        elif fault == "no-choices":
            self._send(200, b'{"choices": []}')
        elif fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices"')
            self.close_connection = True
        else:
            choice: dict[str, Any] = {
                "message": {"role": "assistant", "content": server.answer(body)}
            }
            if server.logprobs is not None and body.get("logprobs"):
                listed = [{"token": t, "logprob": p} for t, p in server.logprobs.items()]
                choice["logprobs"] = {"content": [{"top_logprobs": listed}]}
            found = {"choices": [choice], "usage": server.usage}
            with server.lock:
                server.answered[json.dumps(body, sort_keys=True)] += 1
            self._send(200, json.dumps(found).encode())

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serving(answer: Answer, faults: Sequence[str] = (), port: int = 0) -> Iterator[ChatServer]:
    """Run a server in a thread of this process."""
    server = ChatServer(answer, faults, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
