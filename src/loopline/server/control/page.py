"""Server-rendered pages, without scripts: how things stand, and what went wrong. Everything shown is escaped."""

from html import escape

from loopline.errors import LooplineError
from loopline.loop.status import ModelStatus, MonitorStatus, ProjectStatus


def status_page(projects: list[ProjectStatus], principal: str) -> bytes:
    """How every project stands, for the browser of `principal`."""
    logout = '<form method="post" action="/logout"><button>Log out</button></form>'
    head = f"<header><h1>Loopline</h1><p>{escape(principal)}</p>{logout}</header>"
    return _document("Loopline", head + ("".join(map(_project, projects)) or "<p>No loop is applied yet.</p>"))


def problem_page(error: LooplineError) -> bytes:
    """An error: what is wrong and what to do."""
    told = f"<h1>{escape(error.message)}</h1><p>{escape(error.remedy)}</p><p><code>{escape(error.code)}</code></p>"
    login = "<p>To log in with a browser, ask for a new login URL and open it.</p>"
    return _document("Loopline", told + (login if error.code.startswith(("token.", "login.")) else ""))


def logged_out_page() -> bytes:
    """The session has ended."""
    return _document("Loopline", "<h1>Logged out</h1><p>Ask for a new login URL to come back.</p>")


def _document(title: str, body: str) -> bytes:
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><link rel="stylesheet" href="/page.css">'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'.encode()


def _project(project: ProjectStatus) -> str:
    frozen = project.frozen
    stopped = f"<p>Frozen by {escape(frozen.by)}: {escape(frozen.reason)}</p>" if frozen else ""
    owned = f"<p>Owner: {escape(project.owner)}</p>" if project.owner else ""
    incidents = "".join(f"<li>{escape(one.model)}: {escape(one.sentence)}</li>" for one in project.incidents)
    asked = "".join(
        f"<li>{escape(one.id)}: {escape(one.subject)} for {escape(one.environment)} is {escape(one.state)}</li>"
        for one in project.approvals
    )
    rows = "".join(map(_model, project.models))
    columns = "<tr><th>model</th><th>champion</th><th>since (UTC)</th><th>decision</th><th>monitors</th></tr>"
    return (
        f"<section><h2>{escape(project.project)}</h2>{owned}{stopped}{_calm(project)}<table>{columns}{rows}</table>"
        f"{f'<h3>Open incidents</h3><ul>{incidents}</ul>' if incidents else '<p>No open incidents.</p>'}"
        f"{f'<h3>Approvals</h3><ul>{asked}</ul>' if asked else ''}"
        f"<p>Ledger: {project.ledger_entries} entries, <code>{escape(project.ledger)}</code></p></section>"
    )


def _calm(project: ProjectStatus) -> str:
    found = project.calm
    when = "Freeze window" if found and found.now else "Next freeze window"
    return f"<p>{when}: {found.start:%Y-%m-%d %H:%M} to {found.end:%Y-%m-%d %H:%M} UTC</p>" if found else ""


def _model(model: ModelStatus) -> str:
    others = "".join(f"; {one.environment}: {one.version or 'fallback'}" for one in model.environments[:-1])
    champion = "fallback" if model.champion is None else f"version {model.champion}"
    since = f"{model.since:%Y-%m-%d %H:%M}" if model.since else ""
    decision = "" if model.decision is None else str(model.decision)
    cells = [model.model, champion + others, since, decision, "; ".join(map(_monitor, model.monitors))]
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _monitor(monitor: MonitorStatus) -> str:
    return f"{monitor.name}: evidence {monitor.evidence:.0%} of an alarm, until {monitor.watermark:%Y-%m-%d %H:%M} UTC"
