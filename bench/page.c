/* Documents stand side by side in order of time, not by their distance in time: what matters is from which
 * one to the next a figure moved. */
#include "bench/page.h"

#include "base/memory.h"
#include "base/timestamp.h"
#include "bench/document.h"
#include "bench/result.h"
#include "tuning/html.h"

#include <dirent.h>
#include <errno.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { PATH_BYTES = 4096, WIDTH = 600, HEIGHT = 180, LEFT = 66, RIGHT = 12, TOP = 10, BOTTOM = 22 };

struct page {
    struct document *documents;
    size_t count, capacity;
};

static void page_free(struct page *page)
{
    for (size_t i = 0; i < page->count; i++)
        document_free(&page->documents[i]);
    free(page->documents);
}

static int compare_times(const void *a, const void *b)
{
    const struct document *left = a, *right = b;

    if (left->time_us != right->time_us)
        return left->time_us < right->time_us ? -1 : 1;
    return strcmp(left->path, right->path);
}

static enum status read_folder(struct page *page, const char *path, struct error *ret_error)
{
    DIR *folder = opendir(path);
    enum status status = STATUS_OK;
    const struct dirent *entry;
    char name[PATH_BYTES];

    if (!folder)
        return fail(ret_error, "%s: %s", path, strerror(errno));
    while (status == STATUS_OK && (entry = readdir(folder))) {
        const char *end = strrchr(entry->d_name, '.');

        if (!end || strcmp(end, ".json") != 0)
            continue;
        (void)snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        page->documents =
            memory_reserve(page->documents, &page->capacity, page->count + 1, sizeof *page->documents);
        status = document_read(name, &page->documents[page->count], ret_error);
        page->count += status == STATUS_OK;
    }
    (void)closedir(folder);
    if (status == STATUS_OK && page->count == 0)
        return fail(ret_error, "%s: no .json in it", path);
    qsort(page->documents, page->count, sizeof *page->documents, compare_times);
    return status;
}

static double x_of(const struct page *page, size_t place)
{
    return LEFT + ((double)place + 0.5) / (double)page->count * (WIDTH - LEFT - RIGHT);
}

static double y_of(double value, double top)
{
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
}

static double axis_end(const struct page *page, const struct document_figure *figure)
{
    double greatest = 0;

    for (size_t i = 0; i < page->count; i++) {
        const struct document_figure *found =
            document_find(&page->documents[i], figure->case_name, figure->name);

        if (found)
            greatest = fmax(greatest, gsl_stats_max(found->values, 1, found->count));
    }
    return greatest > 0 ? html_axis_end(greatest) : 1;
}

static void put_axes(const struct page *page, double top, struct buffer *out)
{
    for (int i = 0; i <= 2; i++) {
        double value = top * i / 2, y = y_of(value, top);

        buffer_print(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT,
                     WIDTH - RIGHT, y, y);
        buffer_print(out, "<text class=\"end\" x=\"%d\" y=\"%.1f\">%g</text>", LEFT - 6, y + 4, value);
    }
    for (size_t i = 0; i<page->count; i += page->count> 1 ? page->count - 1 : 1) {
        buffer_print(out, "<text class=\"middle\" x=\"%.1f\" y=\"%d\">", x_of(page, i), HEIGHT - 6);
        html_put_text(span_of(page->documents[i].commit), out);
        buffer_put_text(out, "</text>");
    }
}

static void put_point(const struct page *page, size_t place, const struct document_figure *figure, double top,
                      struct buffer *out)
{
    const struct document *document = &page->documents[place];
    double median = median_of(figure->values, figure->count), x = x_of(page, place), least, greatest;

    gsl_stats_minmax(&least, &greatest, figure->values, 1, figure->count);
    buffer_print(out, "<path class=\"p95\" d=\"M%.1f %.1fV%.1f\"/>", x, y_of(least, top),
                 y_of(greatest, top));
    buffer_print(out, "<circle class=\"p50\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>", x, y_of(median, top));
    html_put_text(span_of(document->commit), out);
    buffer_print(out, ": %g (%g to %g in %zu runs)</title></circle>", median, least, greatest, figure->count);
}

static void put_figure(const struct page *page, const struct document_figure *figure, struct buffer *out)
{
    double top = axis_end(page, figure);
    bool open = false;

    buffer_put_text(out, "<figure><figcaption><b>");
    html_put_text(span_of(figure->name), out);
    buffer_put_text(out, "</b>, ");
    html_put_text(span_of(figure->unit), out);
    buffer_print(out, ": <b class=\"p50\">%g</b></figcaption><svg viewBox=\"0 0 %d %d\" role=\"img\">",
                 median_of(figure->values, figure->count), WIDTH, HEIGHT);
    put_axes(page, top, out);
    buffer_put_text(out, "<path class=\"p50\" d=\"");
    for (size_t i = 0; i < page->count; i++) {
        const struct document_figure *found =
            document_find(&page->documents[i], figure->case_name, figure->name);

        if (found)
            buffer_print(out, "%c%.1f %.1f", open ? 'L' : 'M', x_of(page, i),
                         y_of(median_of(found->values, found->count), top));
        open |= found != NULL;
    }
    buffer_put_text(out, "\"/>");
    for (size_t i = 0; i < page->count; i++) {
        const struct document_figure *found =
            document_find(&page->documents[i], figure->case_name, figure->name);

        if (found)
            put_point(page, i, found, top, out);
    }
    buffer_put_text(out, "</svg></figure>\n");
}

/* What each document was measured with. */
static void put_table(const struct page *page, struct buffer *out)
{
    buffer_put_text(out, "<div class=\"panel wide\"><table><thead><tr><th scope=\"col\">commit</th><th "
                         "scope=\"col\">time</th><th scope=\"col\">version</th><th "
                         "scope=\"col\">processor</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < page->count; i++) {
        const struct document *document = &page->documents[i];
        char time[TIME_TEXT_SIZE];

        time_format(document->time_us, time);
        buffer_put_text(out, "<tr><th scope=\"row\">");
        html_put_text(span_of(document->commit), out);
        buffer_print(out, "</th><td>%.*s</td><td>", TIME_TEXT_SIZE, time);
        html_put_text(span_of(document->version), out);
        buffer_put_text(out, "</td><td>");
        html_put_text(span_of(document->processor), out);
        buffer_put_text(out, "</td></tr>\n");
    }
    buffer_put_text(out, "</tbody></table></div>\n");
}

/* The newest document with the figure draws it, so that none is left out or drawn twice. */
static bool is_newest(const struct page *page, size_t place, const struct document_figure *figure)
{
    for (size_t i = place + 1; i < page->count; i++)
        if (document_find(&page->documents[i], figure->case_name, figure->name))
            return false;
    return true;
}

static void put_cases(const struct page *page, struct buffer *out)
{
    const char *open = NULL;

    for (size_t i = page->count; i-- > 0;)
        for (size_t f = 0; f < page->documents[i].figure_count; f++) {
            const struct document_figure *figure = &page->documents[i].figures[f];

            if (!is_newest(page, i, figure))
                continue;
            if (!open || strcmp(open, figure->case_name) != 0) {
                buffer_put_text(out, open ? "</div></section>\n<section class=\"panel\"><h2>"
                                          : "<section class=\"panel\"><h2>");
                html_put_text(span_of(figure->case_name), out);
                buffer_put_text(out, "</h2><div class=\"plots\">\n");
                open = figure->case_name;
            }
            put_figure(page, figure, out);
        }
    if (open)
        buffer_put_text(out, "</div></section>\n");
}

enum status page_write(const char *folder, struct buffer *out, struct error *ret_error)
{
    struct page page = {0};
    enum status status = read_folder(&page, folder, ret_error);

    if (status == STATUS_OK) {
        html_begin(SPAN_LITERAL("weir bench"), "results", out);
        buffer_put_text(out, "<p>One point a document: the median of its runs, and their range.</p>\n");
        put_table(&page, out);
        put_cases(&page, out);
        html_end(out);
    }
    page_free(&page);
    return status;
}
