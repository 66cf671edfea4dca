"""The head of the page, where no setting of Gradio's reaches: it is changed on its way out.

What a link to the page looks like where it is shared (title, description and picture of Lethe's own in the place of
Gradio's), and what must be there before Gradio's scripts.
"""

from __future__ import annotations

import re

from starlette.datastructures import MutableHeaders
from starlette.responses import FileResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.system.assets import assets_directory

PICTURE = "/share.png"
_THEIRS = re.compile(rb'\s*<meta\s+(?:property="og:|name="twitter:)[^>]*>')
# The clock on Gradio's loading screen goes on after the screen is gone, and each of its frames draws the page anew:
# most of what a browser computes while nothing moves. What asks for a frame in every frame for five seconds gets two
# a second from then on.
_SLOW_CLOCKS = """<script>
{
  const ask = window.requestAnimationFrame.bind(window), cancel = window.cancelAnimationFrame.bind(window);
  let frames = 0;  // in a row that led to the one that is drawn
  window.requestAnimationFrame = (draw) => {
    const count = frames + 1;
    const run = (now) => { frames = count; try { draw(now); } finally { frames = 0; } };
    return count < 300 ? ask(run) : -setTimeout(() => run(performance.now()), 500);
  };
  window.cancelAnimationFrame = (id) => id < 0 ? clearTimeout(-id) : cancel(id);
}
</script>"""


class PageHead:
    """Puts Lethe's tags in the place of Gradio's in the page itself, and what goes before its scripts."""

    def __init__(self, app: ASGIApp, title: str, told: str) -> None:
        self.app, self.title, self.told = app, title, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        picture = f"{scope.get('scheme', 'http')}://{host}{PICTURE}"
        await self.app(scope, receive, self._replacing(send, str(self.tags(picture)).encode()))

    def tags(self, picture: str) -> Safe:
        """The tags that name the page, tell what it is, and show `picture`."""
        ours = {"og:title": self.title, "og:description": self.told, "og:image": picture, "og:type": "website"}
        named = {"twitter:card": "summary_large_image", "twitter:title": self.title, "twitter:image": picture}
        return join(
            *(tag("meta", property=name, content=words) for name, words in ours.items()),
            *(tag("meta", name_=name, content=words) for name, words in named.items()),
        )

    @staticmethod
    def _replacing(send: Send, tags: bytes) -> Send:
        start: Message = {}
        body = b""

        async def sending(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            if MutableHeaders(scope=start).get("content-type", "").startswith("text/html"):
                body = _THEIRS.sub(b"", body).replace(b"<head>", b"<head>" + tags + _SLOW_CLOCKS.encode(), 1)
                MutableHeaders(scope=start)["content-length"] = str(len(body))
            await send(start)
            await send({"type": "http.response.body", "body": body})

        return sending


def picture_routes() -> list[BaseRoute]:
    """The picture, for whoever draws the card."""
    path = assets_directory() / "share.png"
    return [Route(PICTURE, lambda request: FileResponse(path, media_type="image/png"))] if path.is_file() else []
