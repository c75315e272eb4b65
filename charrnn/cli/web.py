"""`charrnn web`: a page that writes with models in the browser, as a folder or served from here."""

import json
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer

from charrnn import store
from charrnn.cli.options import DEFAULT_MODEL, check_new, note
from charrnn.errors import OptionError

LOCAL = "127.0.0.1"
# Python's own table depends on the machine. Browsers run no module of another type than JavaScript.
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
}


def web(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="Models that come with charrnn, or your own. Leave out for all that come with it.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the page here to publish it, and end."),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Take ONNX Runtime from here, `dist` of onnxruntime-web, and not from a CDN.",
        ),
    ] = None,
) -> None:
    """Write with models in a browser: serve a page to this machine, or write it to a folder."""
    # The first model is the one that the page shows.
    names = models or sorted(store.shipped(), key=lambda name: name != DEFAULT_MODEL)
    files = site(names, runtime)
    if output is not None:
        check_new(output)
        for name, content in files.items():
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            (output / name).write_bytes(content)
        note(f"wrote {output}; any web server for static files can publish it")
        return
    try:
        server = serving(files, port)
    except OSError as error:
        raise OptionError(f"Port {port} cannot be used: {error.strerror}.") from error
    with server, suppress(KeyboardInterrupt):
        print(f"http://{LOCAL}:{server.server_port}/", flush=True)
        note("Open this address in a browser. Ctrl-C ends it.")
        server.serve_forever()


def site(models: list[str], runtime: Path | None) -> dict[str, bytes]:
    """The files of a static site that writes with `models`, by path. Raises ModelError and
    OptionError."""
    files = {path.name: path.read_bytes() for path in store.package_data("web").iterdir()}
    names: list[str] = []
    for model in models:
        folder = store.load(model).folder  # loading checks the files
        name = folder.resolve().name
        if name in names:
            raise OptionError(f"Two models have the name {name}. Rename one of their folders.")
        names.append(name)
        for file, content in store.read_files(folder).items():
            files[f"models/{name}/{file}"] = content
    if runtime is not None:
        described = json.loads(files["runtime.json"]) | {"folder": "runtime/"}
        for file in described["files"]:
            files[f"runtime/{file}"] = (runtime / file).read_bytes()
        files["runtime.json"] = json.dumps(described).encode()
    return files | {"models.json": json.dumps(names).encode()}


def serving(files: dict[str, bytes], port: int) -> ThreadingHTTPServer:
    """A server of these files, to this machine only. Raises OSError when the port is taken."""

    class Server(ThreadingHTTPServer):
        allow_reuse_address = sys.platform != "win32"  # there, it would share a port that is taken

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
            if name not in files:
                self.send_error(404)
                return
            self.send_response(200)
            kind = CONTENT_TYPES.get(Path(name).suffix, "application/octet-stream")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(files[name])))
            self.end_headers()
            with suppress(ConnectionError):  # of a page that was closed
                self.wfile.write(files[name])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Requests are of no interest to the person at the terminal."""

    return Server((LOCAL, port), Handler)
