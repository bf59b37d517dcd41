/* weir options and weir documents: the reference pages, from the rows of options and of fields.
 * docs/options.md is the one's output, docs/documents.md ends with the other's; a test compares them. */
#include "cli/commands.h"
#include "pipeline/clean.h"
#include "pipeline/plan.h"
#include "schemas/templates.h"

#include <stdio.h>

enum { PAGE_MAX = 4 * 1024 * 1024 };

static void section(struct buffer *out, const char *title, const char *help, const struct option *rows,
                    size_t count)
{
    buffer_print(out, "\n## %s\n\n", title);
    if (help)
        buffer_print(out, "%s\n\n", help);
    if (count == 0)
        return;
    buffer_put_text(out, "| key | type | default | range | meaning |\n| --- | --- | --- | --- | --- |\n");
    options_describe(rows, count, out);
}

static void typed(struct buffer *out, const char *what, const char *name, const char *help,
                  const struct option *rows, size_t count)
{
    char title[128];

    snprintf(title, sizeof title, "%s: type %s", what, name);
    section(out, title, help, rows, count);
}

static void presets(struct buffer *out)
{
    struct format_preset preset;

    buffer_put_text(out, "\n## formats[]: presets\n\nA source's `format` may name them like a type.\n\n"
                         "| preset | type | meaning |\n|---|---|---|\n");
    for (size_t i = 0; format_preset_at(i, &preset); i++)
        buffer_print(out, "| `%s` | `%s` | %s |\n", preset.name, preset.type->name, preset.help);
}

int cli_options(int argc, char **argv)
{
    const struct option *rows;
    const char *name, *help;
    struct buffer page;
    size_t count;

    (void)argv;
    if (argc > 1) {
        fprintf(stderr, "weir options takes no arguments\n");
        return EXIT_USAGE;
    }
    buffer_init(&page, PAGE_MAX);
    buffer_put_text(&page, "# Configuration keys\n\nPrinted by `weir options`.\n");
    for (const struct plan_section *s = plan_sections; s->name; s++)
        section(&page, s->name[0] ? s->name : "Top level", s->name[0] ? s->help : NULL, s->rows, s->count);
    for (size_t i = 0; source_types[i]; i++)
        typed(&page, "sources[]", source_types[i]->name, source_types[i]->help, source_types[i]->options,
              source_types[i]->option_count);
    for (size_t i = 0; format_types[i]; i++)
        typed(&page, "formats[]", format_types[i]->name, format_types[i]->help, format_types[i]->options,
              format_types[i]->option_count);
    presets(&page);
    for (unsigned i = 0; (name = clean_step_describe(i, &help, &rows, &count)); i++)
        typed(&page, "clean[]", name, help, rows, count);
    section(&page, "detectors[]: every type", "The common back end.", backend_options, backend_option_count);
    for (size_t i = 0; detector_types[i]; i++)
        typed(&page, "detectors[]", detector_types[i]->name, detector_types[i]->help,
              detector_types[i]->options, detector_types[i]->option_count);
    for (size_t i = 0; sink_types[i]; i++)
        typed(&page, sink_types[i]->notifies ? "sinks[], receivers[]" : "sinks[]", sink_types[i]->name,
              sink_types[i]->help, sink_types[i]->options, sink_types[i]->option_count);
    fwrite(page.data, 1, page.size, stdout);
    buffer_free(&page);
    return EXIT_DONE;
}

int cli_documents(int argc, char **argv)
{
    struct buffer page;

    (void)argv;
    if (argc > 1) {
        fprintf(stderr, "weir documents takes no arguments\n");
        return EXIT_USAGE;
    }
    buffer_init(&page, PAGE_MAX);
    templates_describe(&page);
    fwrite(page.data, 1, page.size, stdout);
    buffer_free(&page);
    return EXIT_DONE;
}
