"""How a repository of the Hugging Face Hub is named: `owner/name`, with `@revision` where one is meant."""

from __future__ import annotations

import re

REPOSITORY = r"\w[\w.-]{0,95}/\w[\w.-]{0,95}"
REVISION = r"@\w[\w./-]{0,95}"
HUB_ID = re.compile(rf"{REPOSITORY}({REVISION})?", re.ASCII)
