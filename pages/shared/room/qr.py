"""The QR code of an address, as an image that a page's script asks for when somebody shares."""

import io
import threading
from functools import lru_cache

import segno
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

MOST_CHARACTERS = 1_200
"""Of an address: a code of more has over 117 squares a side, which no phone reads from a projector."""
_MAKING = threading.Lock()
"""One code after another: the largest takes a quarter of a second of a core."""


def send_qr(request: Request) -> Response:
    """Answer with the code of an address: SVG, dark on white with its quiet zone. 400 for what is no address."""
    text = request.query_params.get("of", "")
    if not text.startswith(("http://", "https://")):
        return PlainTextResponse("No address to make a code of.", 400)
    if len(text) > MOST_CHARACTERS:
        return PlainTextResponse("This address is too long for a code.", 414)
    with _MAKING:
        content = _code(text)
    return Response(content, media_type="image/svg+xml", headers={"Cache-Control": "private, max-age=3600"})


@lru_cache(maxsize=64)
def _code(text: str) -> bytes:
    drawn = io.BytesIO()
    segno.make_qr(text, error="l").save(drawn, kind="svg", xmldecl=False, omitsize=True, light="#fff")
    return drawn.getvalue()
