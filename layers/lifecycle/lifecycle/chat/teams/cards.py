"""What Teams shows: an Adaptive Card. Pure.

An outgoing webhook can show links and no buttons that come back, so a button is shown as the line to write. Everything
stands in text runs, where Teams reads no Markdown: https://adaptivecards.io/explorer/RichTextBlock.html
"""

import json

from lifecycle.domain.messages import Answer, Button, Section

MOST_CHARACTERS = 20_000
"""Of a card. Teams takes messages of about 28 KB."""
_MOST_TEXT = 3000
_ADAPTIVE = "application/vnd.microsoft.card.adaptive"

type Element = dict[str, object]


def shown(answer: Answer) -> dict[str, object]:
    """The message with its card."""
    elements, size = [_text(answer.text)], len(answer.text)
    for place, section in enumerate(answer.sections):
        made = _section(section)
        size += len(json.dumps(made, ensure_ascii=False))
        if size > MOST_CHARACTERS:
            elements.append(_text(f"… and {len(answer.sections) - place} more."))
            break
        elements += made
    card = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "body": elements,
    }
    return {"type": "message", "attachments": [{"contentType": _ADAPTIVE, "content": card}]}


def _section(section: Section) -> list[Element]:
    elements = [_text(section.text)] if section.text else []
    elements += [_plain(line) for line in section.lines]
    elements += [_text(_typed(button)) for button in section.buttons if button.typed is not None]
    if elements:
        elements[0] = {**elements[0], "separator": True, "spacing": "Medium"}
    return elements


def _typed(button: Button) -> str:
    return f"{button.label}: write `{button.typed}`"


def _text(text: str) -> Element:
    """Our own wording; what stands between backticks is to be copied."""
    parts = enumerate(text[:_MOST_TEXT].split("`"))
    runs = [_run(part, copied=number % 2 == 1) for number, part in parts if part]
    return {"type": "RichTextBlock", "inlines": runs or [_run("-", copied=False)]}


def _plain(text: str) -> Element:
    return {"type": "RichTextBlock", "inlines": [_run(text[:_MOST_TEXT] or "-", copied=False)]}


def _run(text: str, *, copied: bool) -> Element:
    return {"type": "TextRun", "text": text, **({"fontType": "Monospace"} if copied else {})}
