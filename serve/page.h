/* The files of the web page, put into the program at build time by page/embed.py. Served as they are: no
 * templates, so the content security policy needs no inline code. */
#pragma once
#include <stddef.h>

struct page_file {
    const char *type; /* Content-Type */
    const unsigned char *data;
    size_t size;
};

extern const struct page_file page_index_html, page_style_css, page_page_js, page_chart_js, page_icon_svg;
