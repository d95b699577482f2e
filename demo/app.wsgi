# SPDX-License-Identifier: Apache-2.0
"""The demonstration that `make run` serves: shows where and how it runs, and echoes what it gets.

One file, standard library only, and nothing in it knows about Apache beyond the environ it reads.
"""

import email.parser
import email.policy
import hashlib
import html
import itertools
import json
import os
import platform
import sys
import threading
import time
from urllib.parse import parse_qsl

STARTED = time.time()
LARGEST_FORM = 16 * 1024 * 1024
count = itertools.count(1)


def application(environ, start_response):
    environ["demo.count"] = next(count)
    path = environ.get("PATH_INFO") or "/"
    method = environ["REQUEST_METHOD"]
    pages = {"/": index, "/info.json": info, "/stream": stream, "/echo": echo, "/upload": upload}
    page = pages.get(path)
    if page is None:
        return text(start_response, "404 Not Found", f"There is no {path} here.\n")
    if page in (echo, upload) and method not in ("POST", "PUT"):
        return text(start_response, "405 Method Not Allowed", "Send something: POST or PUT.\n")
    return page(environ, start_response)


def text(start_response, status, message):
    body = message.encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


def facts(environ):
    """What there is to know about the process that answers."""
    return {
        "python": platform.python_version(),
        "implementation": sys.version.replace("\n", " "),
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "executable": sys.executable,
        "server": environ.get("SERVER_SOFTWARE", ""),
        "process_group": environ.get("mod_wsgi.process_group"),
        "application_group": environ.get("mod_wsgi.application_group"),
        "pid": os.getpid(),
        "parent_pid": os.getppid(),
        "user_id": os.getuid(),
        "threads": len(os.listdir("/proc/self/task")),
        "thread": threading.current_thread().name,
        "multithread": bool(environ["wsgi.multithread"]),
        "multiprocess": bool(environ["wsgi.multiprocess"]),
        "requests": environ["demo.count"],
        "uptime_seconds": round(time.time() - STARTED, 1),
    }


def info(environ, start_response):
    body = json.dumps(facts(environ), indent=2).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def stream(environ, start_response):
    """One line every 200 ms: each must arrive when it is made, not all at the end."""
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])

    def lines():
        for number in range(1, 21):
            moment = time.strftime("%H:%M:%S")
            yield f"{number:2} of 20 · {moment} · pid {os.getpid()}\n".encode()
            if number < 20:
                time.sleep(0.2)

    return lines()


def echo(environ, start_response):
    """A form's fields, as they arrived."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > LARGEST_FORM:
        return text(start_response, "413 Content Too Large", "That is more than a form holds.\n")
    fields = parse_qsl(environ["wsgi.input"].read(length).decode("utf-8", "replace"))
    rows = "".join(row(name, value) for name, value in fields) or row("nothing", "")
    return document(environ, start_response, f"<h2>You sent</h2><table>{rows}</table>{BACK}")


def upload(environ, start_response):
    """Name, size and digest of a file: from a form, or as the plain body (curl -T file)."""
    source = environ["wsgi.input"]
    kind = environ.get("CONTENT_TYPE", "")
    if kind.startswith("multipart/form-data"):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > LARGEST_FORM:
            message = "The form takes 16 MiB. For more: curl -T file .../upload\n"
            return text(start_response, "413 Content Too Large", message)
        parser = email.parser.BytesParser(policy=email.policy.HTTP)
        form = parser.parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + source.read(length))
        rows = ""
        for part in form.iter_parts():
            data = part.get_payload(decode=True) or b""
            digest = hashlib.sha256(data).hexdigest()
            rows += row(part.get_filename() or "(no name)", f"{len(data):,} bytes, sha256 {digest}")
        page = f"<h2>You uploaded</h2><table>{rows}</table>{BACK}"
        return document(environ, start_response, page)
    size, digest = 0, hashlib.sha256()
    while block := source.read(65536):
        size += len(block)
        digest.update(block)
    return text(start_response, "200 OK", f"{size} bytes, sha256 {digest.hexdigest()}\n")


def index(environ, start_response):
    known = facts(environ)
    base = html.escape(environ.get("SCRIPT_NAME", ""))
    daemon = known["process_group"]
    group = known["application_group"]
    place = f"daemon group “{daemon}”" if daemon else "embedded in Apache's own process"
    cards = "".join(
        card(title, value, note)
        for title, value, note in (
            ("Python", known["python"], known["executable"]),
            ("Process", known["pid"], f"started by {known['parent_pid']}, user {known['user_id']}"),
            ("Runs", "Daemon" if daemon else "Embedded", place),
            ("Application group", group or "%{GLOBAL}", "the name of its interpreter"),
            ("Threads", known["threads"], f"this one is {known['thread']}"),
            ("Requests", known["requests"], f"by this process, in {known['uptime_seconds']} s"),
        )
    )
    details = "".join(
        row(name, known[name])
        for name in ("implementation", "prefix", "base_prefix", "executable", "server")
    )
    rows = "".join(row(key, environ[key]) for key in sorted(environ) if key != "demo.count")
    body = f"""
<section class="cards">{cards}</section>
<section class="pair">
<form method="post" action="{base}/echo"><h2>Post a form</h2>
<input name="greeting" value="Grüße, 世界" aria-label="Text to send"><button>Send</button></form>
<form method="post" action="{base}/upload" enctype="multipart/form-data"><h2>Upload a file</h2>
<input type="file" name="file" aria-label="File to upload"><button>Upload</button></form>
</section>
<p class="links"><a href="{base}/stream">A streamed answer</a>
<a href="{base}/info.json">This page as JSON</a> <a href="{base}/">Ask again</a></p>
<h2>Interpreter</h2><table>{details}</table>
<h2>Environ</h2><table>{rows}</table>
"""
    return document(environ, start_response, body)


def card(title, value, note):
    title, value, note = (html.escape(str(part)) for part in (title, value, note))
    return f"<article><h3>{title}</h3><strong>{value}</strong><small>{note}</small></article>"


def row(name, value):
    return f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>"


def document(environ, start_response, content):
    base = html.escape(environ.get("SCRIPT_NAME", ""))
    page = PAGE.replace("{base}", base).replace("{content}", content.replace("{base}", base))
    body = page.encode("utf-8", "backslashreplace")
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


BACK = '<p class="links"><a href="{base}/">Back</a></p>'
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>mod_wsgi demonstration</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5d6b7e; --paper: #f5f6f8; --card: #fff;
  --line: #dfe3e9; --mark: #b3242f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #97a3b4; --paper: #14181e;
  --card: #1d232b; --line: #303947; --mark: #ff7a7f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
header { background: linear-gradient(110deg, #7c1f4c, #b3242f 55%, #d9622b); color: #fff;
  padding: 2.6rem max(1.2rem, calc(50vw - 30rem)); }
header h1 { margin: 0; font-size: 2rem; letter-spacing: -.02em; }
header p { margin: .3rem 0 0; opacity: .9; }
main { max-width: 62.4rem; margin: 0 auto; padding: 0 1.2rem 3rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .7rem; }
.cards { display: grid; gap: 1rem; margin-top: -1.4rem;
  grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); }
article, form, table { background: var(--card); border: 1px solid var(--line);
  border-radius: .7rem; }
article { padding: 1rem 1.2rem; box-shadow: 0 2px 8px #0001; min-width: 0; }
article h3 { margin: 0; font-size: .78rem; font-weight: 600; text-transform: uppercase;
  letter-spacing: .07em; color: var(--soft); }
article strong { display: block; font-size: 1.7rem; line-height: 1.3; overflow-wrap: anywhere; }
article small { color: var(--soft); overflow-wrap: anywhere; }
.pair { display: grid; gap: 1rem; margin-top: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); }
form { padding: 1rem 1.2rem 1.2rem; display: flex; flex-wrap: wrap; gap: .6rem; }
form h2 { flex-basis: 100%; margin: 0; }
input { flex: 1; min-width: 0; font: inherit; color: inherit; padding: .45rem .6rem;
  background: var(--paper); border: 1px solid var(--line); border-radius: .45rem; }
button { font: inherit; font-weight: 600; color: #fff; background: #b3242f; border: 0;
  border-radius: .45rem; padding: .45rem 1.1rem; cursor: pointer; }
button:hover { background: #8f1b25; }
.links a { color: var(--mark); margin-right: 1.4rem; font-weight: 600; }
table { width: 100%; border-collapse: separate; border-spacing: 0; table-layout: fixed;
  font-size: .9rem; overflow: hidden; }
th, td { padding: .4rem 1.2rem; text-align: left; vertical-align: top; overflow-wrap: anywhere;
  border-top: 1px solid var(--line); }
tr:first-child > * { border-top: 0; }
th { width: 32%; font-weight: 600; color: var(--soft); }
td { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .85rem; }
@media (max-width: 34rem) { th, td { display: block; width: auto; } td { border-top: 0;
  padding-top: 0; } }
</style></head><body>
<header><h1>It works.</h1><p>A WSGI application, answered by Apache.</p></header>
<main>{content}</main></body></html>
"""
