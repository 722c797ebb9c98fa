"""An S3 server of our own (moto), for what a department keeps in a bucket."""

import contextlib
import gc
from collections.abc import Iterator

import pytest
import requests
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from kd_core.base.files import path_at

BUCKET = "s3://lab"


@contextlib.contextmanager
def s3_server(address: str = "127.0.0.1") -> Iterator[dict[str, str]]:
    """The environment variables with which programs find BUCKET, set in this process too."""
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    requests.post(
        f"http://{host}:{port}/moto-api/reset", timeout=10
    ).raise_for_status()  # servers of a process share all
    variables = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_MAX_ATTEMPTS": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        root = path_at(BUCKET)
        root.fs.mkdir(root.path)
        yield variables
        del root
        forget_sessions()
    server.stop()


def forget_sessions() -> None:
    """Have the next path ask anew where its server is.

    Sessions are closed here and now: left to the garbage collector, s3fs closes them in whatever event loop it finds.
    """
    S3FileSystem.clear_instance_cache()
    gc.collect()
