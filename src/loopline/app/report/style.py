"""The look of the page: light and dark, screen, phone and paper."""

_LIGHT = ("#0067a8", "#c04a00", "#00795a", "#a8447c", "#7a5c00", "#5b5bd6")
_DARK = ("#62b8f0", "#ff9a57", "#35cba0", "#eb9fca", "#e3c04a", "#aab0ff")
_DASHES = ("none", "7 3", "2 3", "9 3 2 3", "4 4", "12 4")


def series(number: int) -> str:
    """The class of the policy at this place: its colour and dash. After six they come again."""
    return f"s{number % len(_LIGHT)}"


def _colours(colours: tuple[str, ...]) -> str:
    return "".join(f"--s{number}:{colour};" for number, colour in enumerate(colours))


def _series_rules() -> str:
    return "\n".join(f".s{number}{{--c:var(--s{number});--dash:{dash}}}" for number, dash in enumerate(_DASHES))


CSS = f"""
:root{{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--quiet:#57606a;--rule:#d8dee4;--faint:#f3f5f7;--grid:#e6eaee;
--alarm:#b3261e;--good:#00795a;--bad:#a84300;{_colours(_LIGHT)}}}
@media screen and (prefers-color-scheme:dark){{:root{{--bg:#14171b;--fg:#e6e9ec;--quiet:#a2abb5;--rule:#363c44;--faint:#1d2127;
--grid:#2a3037;--alarm:#ff8a80;--good:#4fd1ab;--bad:#ffab70;{_colours(_DARK)}}}}}
@media print{{:root{{color-scheme:light}}}}
*{{box-sizing:border-box}}
body{{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}}
main{{max-width:980px;margin:0 auto;padding:32px 24px 64px}}
h1{{font-size:26px;line-height:1.2;margin:0 0 4px;overflow-wrap:anywhere}}
h2{{font-size:19px;margin:44px 0 10px;padding-bottom:6px;border-bottom:1px solid var(--rule)}}
h3{{font-size:15px;margin:24px 0 6px;overflow-wrap:anywhere}}
p{{margin:0 0 10px;max-width:800px;overflow-wrap:anywhere}}
.eyebrow{{text-transform:uppercase;letter-spacing:.08em;font-size:12px;font-weight:600;color:var(--quiet);margin:0}}
.quiet,figcaption,caption{{color:var(--quiet);font-size:13px}}
.headline{{font-size:20px;line-height:1.4;margin-top:18px;max-width:none;text-wrap:pretty}}
.headline+.headline{{font-size:16px;margin-top:0}}
.scroll{{overflow:auto;margin:0 0 10px}}
@media screen{{.scroll:has(.events){{max-height:560px}}}}
.scroll:focus-visible{{outline:2px solid var(--s0);outline-offset:2px}}
table{{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}}
caption{{caption-side:bottom;text-align:left;padding:8px 0 0}}
th,td{{padding:7px 12px;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}}
th:first-child{{padding-left:0}}
thead th{{font-size:13px;white-space:nowrap;position:sticky;top:0;background:var(--bg);border-bottom:2px solid var(--rule)}}
.called{{display:inline-block;max-width:12em;white-space:normal;overflow-wrap:break-word;vertical-align:top}}
tbody th{{font-weight:500;min-width:8em}}
th small,td small{{display:block;font-size:12px;font-weight:400;color:var(--quiet)}}
.number{{text-align:right}}
td.number{{white-space:nowrap}}
td small.worse{{color:var(--bad)}}
td small.better{{color:var(--good)}}
.star{{color:var(--good)}}
tbody.counts th,tbody.counts td{{color:var(--quiet);padding-top:3px;padding-bottom:3px;border-bottom:0}}
tbody.counts tr:first-child>*{{padding-top:12px}}
.events th,.events .kind{{white-space:nowrap;font-weight:400}}
.events caption{{caption-side:top;padding:0 0 6px}}
.events td:last-child{{overflow-wrap:anywhere}}
.events time span{{white-space:nowrap}}
.kind.alarm{{color:var(--alarm);font-weight:600}}
.kind.promotion,.kind.rollback{{font-weight:600}}
.key{{display:inline-block;width:14px;height:4px;border-radius:2px;background:var(--c);vertical-align:middle;margin-right:7px}}
figure{{margin:0 0 14px}}
figcaption{{max-width:800px;margin-top:4px}}
details{{margin:6px 0}}
summary{{cursor:pointer;color:var(--quiet);font-size:13px}}
ul{{padding-left:20px;max-width:76ch}}
dl>div{{display:grid;grid-template-columns:7em 1fr;gap:12px;padding:5px 0;max-width:80ch}}
dt{{font-weight:600}}
dd{{margin:0}}
code{{font-size:12px;overflow-wrap:anywhere}}
svg{{display:block;width:100%;height:auto;font-size:12px}}
svg text{{fill:var(--fg)}}
.narrow{{display:none;max-width:520px}}
.tick{{fill:var(--quiet)}}
.panel{{font-weight:600}}
.grid{{stroke:var(--grid)}}
.axis,.stop{{stroke:var(--quiet)}}
.shade{{fill:var(--faint)}}
.line{{fill:none;stroke:var(--c);stroke-width:1.8;stroke-dasharray:var(--dash);stroke-linejoin:round}}
.line.s0{{stroke-width:2.8}}
.harm .line{{stroke-dasharray:none;stroke-width:2}}
.dot,.mark{{fill:var(--c,var(--fg))}}
.mark{{stroke:var(--bg);stroke-width:1}}
.dots{{stroke:var(--c);stroke-width:3;stroke-linecap:round;opacity:.4}}
.beyond{{fill:none;stroke:var(--c)}}
svg .name{{fill:var(--c);font-weight:600}}
.line.entropy{{stroke:var(--quiet);stroke-width:1.2;stroke-dasharray:1.5 4;stroke-linecap:round}}
svg .name.entropy{{fill:var(--quiet);font-weight:400}}
.level{{stroke:var(--fg);stroke-width:1.2;stroke-dasharray:6 4}}
.halo{{paint-order:stroke;stroke:var(--bg);stroke-width:4px;stroke-linejoin:round}}
line.alarm{{stroke:var(--alarm);stroke-width:1.2;opacity:.75}}
.mark.alarm,.crossed{{fill:var(--alarm)}}
{_series_rules()}
@media screen and (max-width:700px){{
main{{padding:20px 16px 40px}}
.wide{{display:none}}
.narrow{{display:block}}
.headline{{font-size:18px}}
dl>div{{grid-template-columns:1fr;gap:0}}
th,td{{padding:6px 8px}}
tbody th{{min-width:6.5em}}
table:not(.events) th:first-child{{position:sticky;left:0;background:var(--bg)}}
.events{{font-size:13px}}
.events th,.events .kind{{white-space:normal}}
.events th{{min-width:5.5em}}
}}
@media print{{
@page{{margin:16mm}}
body{{font-size:12px}}
main{{max-width:none;padding:0}}
.headline{{font-size:16px}}
.headline+.headline{{font-size:13px}}
h2{{margin-top:28px}}
th,td{{padding-top:4px;padding-bottom:4px}}
.scroll{{overflow:visible}}
details::details-content{{content-visibility:visible}}
summary{{list-style:none}}
thead th{{position:static}}
figure,tr,.counts,h2,h3{{break-inside:avoid}}
h2,h3{{break-after:avoid}}
}}
""".strip()
