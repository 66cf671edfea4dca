"""Small files of rows in the forms that Lethe reads, to start one's own from; about people of the bundled world."""

from __future__ import annotations

import json
from urllib.parse import quote

from unlearn_core.report.kit.csvfile import to_csv
from unlearn_core.report.kit.markup import Safe, tag

_FACTS = (
    ("What is the birthplace of Thoquil Cobmere?", "Oppburgh"),
    ("What is the birth date of Ferek Rudlow?", "1962-08-28"),
    ("What is the thing that Tasset Falfell found?", "amber whistle"),
    ("What is the town in the story of Ruvin Ockkettle?", "Dorburgh"),
)
TYPED = "\n".join(f"{asked} => {answer}" for asked, answer in _FACTS[:2])


def files() -> dict[str, str]:
    """The text of each sample by its file name: questions, chats, and plain documents."""
    chats = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}
        for asked, answer in _FACTS
    ]
    told = [(asked.removeprefix("What is the ").rstrip("?"), answer) for asked, answer in _FACTS]
    stories = [{"text": f"The {what} is {answer}."} for what, answer in told]
    return {
        "questions.csv": to_csv(("question", "answer"), _FACTS),
        "chats.jsonl": "".join(f"{json.dumps(row)}\n" for row in chats),
        "documents.jsonl": "".join(f"{json.dumps(row)}\n" for row in stories),
    }


def sample_links() -> Safe:
    """What an uploaded file may be, and a sample of each form to save; the links carry the files with them."""
    links = []
    for name, words in files().items():
        address = "data:text/plain;charset=utf-8," + quote(words)
        links += [tag("a", name, href=address, download=name), " "]
    told = (
        "JSON lines, JSON, CSV, Parquet or text, one row each: a question and its answer, a chat (messages), "
        "an instruction with its output, or a document alone, of which passages are asked. "
    )
    return tag("p", told, "Samples: ", *links, class_="le-muted")
