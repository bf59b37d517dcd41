/* The files of the web page, put into the program at build time by page/embed.py. Served as they are: no
 * templates, so the content security policy needs no inline code. */
#pragma once
#include <stddef.h>

struct page_file {
    const char *type; /* Content-Type */
    const unsigned char *data;
    size_t size;
};

extern const struct page_file page_index_html, page_style_css, page_icon_svg, page_page_js, page_parts_js,
    page_chart_js, page_gantt_js, page_alerts_js, page_runs_js, page_measures_js, page_letters_js,
    page_health_js;
