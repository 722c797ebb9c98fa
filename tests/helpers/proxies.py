"""nginx and Caddy before a server of the lab, configured as docs/proxies.md says."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NGINX = """
daemon off; master_process off; error_log stderr; pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; {location} }}
}}
"""


def documented(kind):
    """The blocks of the document for nginx or Caddy, by what they are: root, kept or stripped; of nginx shared too."""
    blocks = re.findall(rf"```{kind}\n(.*?)```", (ROOT / "docs" / "proxies.md").read_text(), re.DOTALL)
    return dict(zip(["shared", "root", "kept", "stripped"][-len(blocks) :], blocks, strict=True))


@contextlib.contextmanager
def proxied(kind, how, target, folder, *, left_out=""):
    """The address of a proxy before the server at a port. left_out: a line that somebody forgot."""
    if shutil.which(kind) is None:
        message = f"no {kind} on this machine: apt-get install {kind}"
        pytest.fail(message) if os.environ.get("KD_NO_SKIPS") else pytest.skip(message)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    blocks = {name: block.replace("8501", str(target)) for name, block in documented(kind).items()}
    if kind == "nginx":
        shared = "\n".join(line for line in blocks["shared"].splitlines() if not (left_out and left_out in line))
        (folder / "kd-lab.conf").write_text(shared)
        (folder / "config").write_text(NGINX.format(folder=folder, port=port, location=blocks[how]))
        command = ["nginx", "-p", folder, "-c", folder / "config"]
    else:
        site = blocks[how].replace("lab.example.org", f"http://localhost:{port}")
        (folder / "config").write_text("{\n    admin off\n}\n" + site)
        command = ["caddy", "run", "--adapter", "caddyfile", "--config", folder / "config"]
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        yield f"http://localhost:{port}" + ("" if how == "root" else "/kd")
    finally:
        process.terminate()
        process.communicate(timeout=30)
