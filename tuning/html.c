/* The style has the classes of all pages: panels, tables, plots. */
#include "tuning/html.h"

#include <math.h>

static const char style[] =
    ":root{color-scheme:light "
    "dark;--ground:#f4f6f7;--panel:#fff;--text:#1a2127;--muted:#56616b;--rule:#dbe0e4;"
    "--ok:#2f8f5b;--bad:#c0392b;--other:#9aa5ae;--p50:#1f5fa8;--p95:#b3420a}"
    "@media(prefers-color-scheme:dark){:root{--ground:#11161a;--panel:#192026;--text:#e3e8ec;--muted:#9ba7b1;"
    "--rule:#2d363e;--ok:#4fae7b;--bad:#ff8b80;--other:#5d6972;--p50:#74b3ef;--p95:#ffa974}}"
    "*{box-sizing:border-box}body{margin:0;padding:24px;background:var(--ground);color:var(--text);"
    "font:14px/1.45 system-ui,'Segoe UI','Helvetica Neue',Arial,sans-serif;font-variant-numeric:tabular-nums}"
    "h1{font-size:22px;margin:0}h2{font-size:15px;margin:0 0 8px;overflow-wrap:anywhere}"
    "p{margin:4px 0 20px;color:var(--muted)}"
    ".panel{background:var(--panel);border:1px solid var(--rule);border-radius:6px;padding:14px;margin:0 0 "
    "16px}"
    ".wide{overflow-x:auto;padding:0}table{border-collapse:collapse;width:100%}"
    "th,td{padding:4px 7px;font-size:13px;text-align:right;white-space:nowrap;border-bottom:1px solid "
    "var(--rule)}"
    "thead "
    "th:first-child{text-align:left}th{font-weight:600;color:var(--muted);white-space:normal;vertical-align:"
    "bottom}"
    "tbody "
    "th{text-align:left;color:var(--text);position:sticky;left:0;background:var(--panel);white-space:nowrap;"
    "max-width:40ch;overflow:hidden;text-overflow:ellipsis}"
    "tbody th.task{font-weight:400;padding-left:20px}tr:last-child>*{border-bottom:0}td.bad{color:var(--bad);"
    "font-weight:600}"
    ".plots{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:12px}"
    "@media(max-width:800px){.plots{grid-template-columns:1fr}}"
    "figure{margin:0}figcaption{font-size:12px;color:var(--muted)}figcaption b{font-weight:600}"
    "b.p50{color:var(--p50)}b.p95{color:var(--p95)}b.ok{color:var(--ok)}b.bad{color:var(--bad)}"
    "svg{display:block;width:100%;height:auto}svg text{font-size:11px;fill:var(--muted)}.end{text-anchor:end}"
    ".middle{text-anchor:middle}.grid{stroke:var(--rule)}path{fill:none;stroke-width:1.5}"
    "path.p50{stroke:var(--p50)}path.p95{stroke:var(--p95)}circle.p50{fill:var(--p50)}circle.p95{fill:var(--"
    "p95)}"
    "p.remark{color:var(--text);margin:4px "
    "0}.pair{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:16px}"
    "@media(max-width:800px){.pair{grid-template-columns:1fr}}.pair svg{max-width:420px}"
    "path.band{fill:var(--other);stroke:none;opacity:.3}b.band{color:var(--other)}path.value{stroke:var(--"
    "p50);stroke-width:1}"
    "rect.incident{opacity:.22}line.alert{stroke-width:1;stroke-dasharray:2 3}line.alert.ok{stroke:var(--ok)}"
    "line.alert.bad{stroke:var(--bad)}line.alert.other{stroke:var(--other)}"
    "circle.ok,path.before.ok{fill:var(--ok)}circle.bad,path.before.bad{fill:var(--bad)}"
    "circle.other,path.before.other{fill:var(--other)}path.before{stroke:none}"
    "line.cut{stroke:var(--text);stroke-dasharray:5 4}"
    "rect.ok{fill:var(--ok)}rect.bad{fill:var(--bad)}rect.other{fill:var(--other)}"
    "@media "
    "print{:root{--ground:#fff;--panel:#fff;--text:#000;--muted:#444;--rule:#ccc;--ok:#2f8f5b;--bad:#c0392b;"
    "--other:#9aa5ae;--p50:#1f5fa8;--p95:#b3420a}@page{size:landscape;margin:12mm}body{padding:0}"
    "body "
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}.panel{break-inside:avoid;border-color:#ccc}"
    ".wide{overflow:visible;break-inside:auto}thead{display:table-header-group}tr{break-inside:avoid}"
    "th,td{font-size:7.5px;padding:2px 3px}tbody th.task{padding-left:10px}"
    ".plots{grid-template-columns:repeat(3,1fr)}}";

void html_put_text(struct span text, struct buffer *out)
{
    for (uint32_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        if (byte == '&')
            buffer_put_text(out, "&amp;");
        else if (byte == '<')
            buffer_put_text(out, "&lt;");
        else if (byte == '>')
            buffer_put_text(out, "&gt;");
        else if (byte == '"')
            buffer_put_text(out, "&quot;");
        else
            buffer_put_char(out, byte < 0x20 || byte == 0x7F ? ' ' : (char)byte);
    }
}

void html_begin(struct span title, const char *kind, struct buffer *out)
{
    buffer_put_text(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                         "<meta name=\"viewport\" content=\"width=device-width\"><title>");
    html_put_text(title, out);
    buffer_print(out, ": %s</title><style>%s</style></head><body>\n<h1>", kind, style);
    html_put_text(title, out);
    buffer_put_text(out, "</h1>\n");
}

void html_end(struct buffer *out)
{
    buffer_put_text(out, "</body></html>\n");
}

double html_axis_end(double value)
{
    static const double steps[] = {1, 2, 5};
    double power = pow(10, floor(log10(value)));

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (steps[i] * power >= value)
            return steps[i] * power;
    return 10 * power;
}
