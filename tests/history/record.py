#!/usr/bin/env python3
"""Records what the Python package writes into histories and reads from them.

Needs `miniagents==0.1.0a1` and `markdown-it-py==3.0.0`. Writes `written.jsonl` and `read.jsonl` beside itself.
"""

import asyncio
import json
import random
import tempfile
from pathlib import Path

from miniagents import Message, MiniAgents, TextMessage
from miniagents.ext import MarkdownHistoryAgent
from miniagents.ext.llms import AssistantMessage, SystemMessage, UserMessage

HERE = Path(__file__).parent
CLASSES = {
    "Message": Message,
    "TextMessage": TextMessage,
    "UserMessage": UserMessage,
    "SystemMessage": SystemMessage,
    "AssistantMessage": AssistantMessage,
}


def said(class_, tokens, whole=False, **known):
    return {"class": class_, "tokens": tokens, "whole": whole, "known": known}


WRITTEN = {
    "nothing": [[]],
    "one": [[said("UserMessage", ["hi"], whole=True)]],
    "a dialog": [
        [said("UserMessage", ["What is CommonMark?"], whole=True)],
        [said("AssistantMessage", ["A ", "spec", "ification.\n"], model="gpt-4o", agent_alias="OPENAI_AGENT")],
        [said("UserMessage", ["thanks\n\nbye"], whole=True)],
    ],
    "several at once": [
        [
            said("SystemMessage", ["Be brief."], whole=True),
            said("UserMessage", [""], whole=True),
            said("UserMessage", ["\n\n  hi  \n\n"], whole=True),
        ]
    ],
    "roles": [
        [
            said("TextMessage", ["nobody says"], whole=True),
            said("TextMessage", ["nobody says, in ", "tokens"]),
            said("TextMessage", ["a tool"], whole=True, role="tool"),
            said("AssistantMessage", ["a known role"], role="user"),
            said("AssistantMessage", ["a name with a slash"], model="openai/gpt-4o"),
            said("AssistantMessage", ["an empty name"], model=""),
            said("AssistantMessage", ["no name"], whole=True),
        ]
    ],
    "left out": [
        [
            said("UserMessage", ["kept"], whole=True),
            said("UserMessage", ["left out"], whole=True, no_history=True),
            said("AssistantMessage", ["left ", "out"], no_history=True),
            said("AssistantMessage", ["kept"], no_history=False),
        ]
    ],
    "any text": [
        [
            said("UserMessage", ["# A heading\n\ntext\n\nAnother\n=======\n\n```python\n# user\n```"], whole=True),
            said("AssistantMessage", ["\u4f60\u597d ", "\U0001f980", "\r\n\t\x00 end"]),
            said("AssistantMessage", ["```\nnever ", "closed"]),
            said("UserMessage", ["after it"], whole=True),
        ]
    ],
    "no text": [[said("Message", [], whole=True, temperature=21)]],
}

FRAGMENTS = [
    "\nuser\n========================================\n",
    "\nassistant / gpt-4o\n========================================\n",
    "\nsystem\n===\n",
    "# user\n",
    "#   User   #\n",
    "# ASSISTANT / openai/gpt-4o ##\n",
    "# assistant / not a name\n",
    "# user #hash\n",
    "# user#\n",
    "#user\n",
    "## user\n",
    "   # user\n",
    "    # user\n",
    "\t# user\n",
    "# [user](x)\n",
    "# **user**\n",
    "# user\\\n",
    "#\tsystem\t/\tm\t\n",
    "# user /\n",
    "# / user\n",
    "# tool\n",
    "user\n=\n",
    "  user  \n  ===  \n",
    "two\nuser\n===\n",
    "user\n---\n",
    "- a list\n",
    "- # user\n",
    "  # user\n",
    "- item\n\n  user\n  ===\n",
    "> # user\n",
    "> quoted\n",
    "1. one\n",
    "```\n",
    "```rust\n",
    "~~~~\n",
    "~~~\n",
    "   ```\n",
    "<!-- user\n",
    "-->\n",
    "<div>\n",
    "</div>\n",
    "<pre>\n",
    "</pre>\n",
    "[user]: /url\n",
    "***\n",
    "text\n",
    "text",
    "  text  \n",
    "text\\\n",
    "\n",
    "\n\n",
    "   \n",
    "===\n",
    "# user\r\n",
    "text\r\n",
    "# Introduction\n",
    "user",
    "a | b\n--|--\n",
    "\u00a0# user\n",
    "# \u00a0user\u00a0\n",
    "# u\u017fer\n",
    "| user\n===\n",
    "\\# user\n",
    "&#35; user\n",
]


def message_of(part):
    cls, tokens = CLASSES[part["class"]], part["tokens"]
    if part["whole"]:
        if cls is Message:
            return cls(**part["known"])
        return cls("".join(tokens), **part["known"])

    async def stream(_):
        for token in tokens:
            yield token

    return cls.promise(message_token_streamer=stream, **part["known"])


async def write(calls, file, **options):
    for parts in calls:
        await MarkdownHistoryAgent.trigger(
            [message_of(part) for part in parts], history_md_file=str(file), **options
        )


async def read(text, file, **options):
    file.write_bytes(text.encode("utf-8"))
    messages = await MarkdownHistoryAgent.trigger(
        [], history_md_file=str(file), return_full_history=True, **options
    )
    return [[message.role, message.model, message.content] for message in messages], [
        message.hash_key for message in messages
    ]


async def main():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "deeper" / "CHAT.md"
        with (HERE / "written.jsonl").open("w", encoding="utf-8") as out:
            for name, calls in WRITTEN.items():
                for options in ({}, {"ignore_no_history": True}, {"default_role": "user"}, {"append": False}):
                    file.unlink(missing_ok=True)
                    await write(calls, file, **options)
                    text = file.read_bytes().decode("utf-8")
                    record = {"name": name, "options": options, "calls": calls, "file": text}
                    record["sections"], _ = await read(text, file)
                    print(json.dumps(record, ensure_ascii=False), file=out)

        rng = random.Random(6)
        texts = ["", "\n", *FRAGMENTS, *("# user\n" + fragment + "# user\nend" for fragment in FRAGMENTS)]
        for _ in range(900):
            texts.append("".join(rng.choice(FRAGMENTS) for _ in range(rng.randint(2, 12))))
        with (HERE / "read.jsonl").open("w", encoding="utf-8") as out:
            for text in texts:
                sections, keys = await read(text, file, skip_empty=False)
                kept, _ = await read(text, file)
                record = {"text": text, "sections": sections, "keys": keys, "not_empty": len(kept)}
                print(json.dumps(record, ensure_ascii=False), file=out)


if __name__ == "__main__":
    MiniAgents().run(main())
