"""Slack, and what takes its messages (Mattermost, Rocket.Chat): notifications in the shape of an incoming webhook's."""

from typing import Any

from loopline.incidents.notify import SEVERITIES, WebhookChannel

_LONGEST_HEADER, _LONGEST_SECTION, _MOST_PARTS = 150, 3000, 20
_SIGNS = {"critical": "🔴", "warning": "🟠", "info": "🔵"}
_SAID_ABOVE = {"text", "notifications", "id", "severity", "to", "project", "group", "keys", "event"}


class SlackChannel(WebhookChannel):
    """Posts notifications to an incoming webhook of Slack. Raises as `WebhookChannel`."""

    name = "slack"
    _variables = ("LOOPLINE_SLACK_URL", "LOOPLINE_SLACK_SEVERITY")

    def _shaped(self, message: dict[str, Any]) -> dict[str, Any]:
        """What Slack's incoming webhooks take: a text for notifications, and blocks for the screen."""
        severity = str(message.get("severity", SEVERITIES[-1]))
        place = "/".join(str(message[name]) for name in ("project", "model", "pipeline") if message.get(name))
        text = str(message.get("text", message.get("event", "")))
        parts = [f"• {_escaped(_text(one))}" for one in message.get("notifications", [])[:_MOST_PARTS]]
        facts = [
            f"*{name}* {_escaped(str(value))}" for name, value in message.items() if name not in _SAID_ABOVE and value
        ]
        blocks: list[dict[str, Any]] = [
            {"type": "header", "text": {"type": "plain_text", "text": f"{_SIGNS[severity]} {place or severity}"[:_LONGEST_HEADER]}},
            {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join([_escaped(text), *parts])[:_LONGEST_SECTION]}},
        ]  # fmt: skip
        if facts:
            blocks.append(
                {"type": "context", "elements": [{"type": "mrkdwn", "text": "  ".join(facts)[:_LONGEST_SECTION]}]}
            )
        return {"text": f"[{severity}] {place}: {_escaped(text)}"[:_LONGEST_SECTION], "blocks": blocks}


def _text(message: dict[str, Any]) -> str:
    return str(message.get("text", message.get("event", "")))


def _escaped(text: str) -> str:
    """`<!channel>` in a text must not call a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
