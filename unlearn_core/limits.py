"""What a stranger may do on a public server: every number, in one place.

One visitor is one page; all pages behind one network address together may take `PER_ADDRESS` times as much
(a class room shares one), and all visitors of the server together `EVERYBODY` times.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024

# What is brought: a data set, and a request as it arrives: one file and its frame, or a file's text as JSON,
# whose escapes make text up to three times longer, and some values around it.
FILE_BYTES, FILE_ROWS, FILE_COLUMNS, FIELD_CHARACTERS = 2 * MIB, 2_000, 100, 8_000
UPLOAD_BYTES, REQUEST_BYTES, REQUEST_VALUES = FILE_BYTES + MIB, 3 * FILE_BYTES + MIB, 10_000
# Requests beyond this size: so many at once, and of one address.
LARGE_BYTES, LARGE_AT_ONCE, LARGE_OF_ADDRESS = MIB // 4, 8, 1
# Requests under way of one address (an open page has two), those among them that make the page anew, and the
# files of one upload.
OPEN_OF_AN_ADDRESS, PAGES_OF_AN_ADDRESS, FILES_OF_AN_UPLOAD = 256, 1, 1
IDENTIFIER_CHARACTERS = 64  # what a browser or a program calls its session, its call or its upload

# A run: optimiser steps, seconds until its training is ended and scored (twice that, and it is stopped),
# and what its training may take of the memory by the estimate made before it.
STEPS, RUN_SECONDS, RUN_BYTES = 500, 600, 4096 * MIB
AUDIT_SECONDS = 180

# A question, and one that is asked in some fifteen ways: each takes no longer than 5 s of one core.
NEW_TOKENS, PROMPT_CHARACTERS, REPHRASED_CHARACTERS = 256, 2_000, 1_000

OWNER_CHARACTERS = 16  # least length of the secret that a run is stopped with
SECRET_CHARACTERS = 256  # most, of that and of the key that makes two starts one
RUNS_AT_A_TIME, RUNS_OF_AN_ADDRESS = 1, 3  # waiting or running
# Places for addresses that have none: in the queue of runs, and in Gradio's of everything else.
PLACES_KEPT, CALLS_OF_AN_ADDRESS = 4, 48
# Runs and uploads go so long after they were made; the oldest sooner, where all together take more than this.
KEPT_DAYS, KEPT_BYTES, KEPT_UPLOADS = 7, 20_480 * MIB, 20_000
# Copies of uploads and downloads on their way, on a public server and on one's own (weights are large).
SCRATCH_BYTES, SCRATCH_FILES = {True: 128 * MIB, False: 65_536 * MIB}, 2_000

PER_ADDRESS, EVERYBODY = 5, 25
KEPT_SHARES = 5  # of those of everybody: for addresses that took less than one visitor may


@dataclass(frozen=True)
class Allowance:
    """How much of something one visitor may take within `seconds`."""

    title: str
    amount: int
    seconds: int


ALLOWANCES = {
    "run": Allowance("runs", 10, 3600),
    "audit": Allowance("attacks", 6, 3600),
    "question": Allowance("questions", 60, 60),
    "look": Allowance("looks at data, reports and exports", 30, 60),
    "delete": Allowance("deletions of everything", 6, 60),
    "sign in": Allowance("attempts to sign in", 10, 60),
    "upload": Allowance("bytes of uploads", 20 * MIB, 3600),
    "file": Allowance("uploads", 40, 3600),
    "request": Allowance("requests", 600, 60),
    "bytes": Allowance("bytes of requests", 40 * MIB, 3600),
}
