"""Samples for a browser: python web_server.py MODEL [PORT], then http://127.0.0.1:8000/?prompt=It+was&length=200

Each request is answered by a thread of its own. They share one model: sample and log_prob only read its parameters,
keep what else they need to themselves, and let other threads run meanwhile.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import charrnn


def server(model: charrnn.CharRNN, port: int = 0) -> ThreadingHTTPServer:
    """A server of this model on this machine, to be started with serve_forever; port 0 is a free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            try:
                text = model.sample(
                    query.get("prompt", ""),
                    min(int(query.get("length", 200)), 10_000),  # what one request may cost
                    temperature=float(query.get("temperature", 1)),
                    rng=int(query["seed"]) if "seed" in query else None,
                )
            except ValueError as error:  # its message says which argument, what it was and what is allowed
                self.answer(400, str(error))
            else:
                self.answer(200, text)

        def answer(self, status: int, text: str) -> None:
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    with server(charrnn.load(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8000) as http:
        http.serve_forever()
