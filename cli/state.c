/* weir state show|verify|export|import|reset: looks into the store of a pipeline, checks it, takes its state
 * elsewhere, or forgets what was learned. The first three work beside a running weir; the others need its
 * lock. */
#include "base/memory.h"
#include "base/timestamp.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/state_archive.h"
#include "pipeline/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char usage[] = "usage: weir state show|verify [FILE.yaml | --store PATH]\n"
                            "       weir state export [FILE.yaml | --store PATH] OUT.zst|-\n"
                            "       weir state import [FILE.yaml | --store PATH] IN.zst|- [--replace]\n"
                            "       weir state reset --series [FILE.yaml | --store PATH]\n";

struct request {
    const char *file, *store, *archive;
    bool replace, series;
};

typedef enum status state_action(struct store *store, const struct request *request, struct error *ret_error);

static void print_damage(void *owner, const char *text)
{
    int *damages = owner;

    ++*damages;
    printf("damaged: %s\n", text);
}

static enum status verify(struct store *store, const struct request *request, struct error *ret_error)
{
    int damages = 0;
    enum status status = store_verify(store, print_damage, &damages, ret_error);

    if (status != STATUS_OK)
        return status;
    if (damages)
        return fail(ret_error, "the store is damaged in %d places", damages);
    printf("the store is whole\n");
    return STATUS_OK;
}

struct kind_size {
    uint64_t tables, values, value_bytes, stored_bytes;
};

static void add_table(void *owner, const struct state_table_size *size)
{
    struct kind_size *kinds = owner;
    struct kind_size *kind = &kinds[size->table.kind <= STATE_HOT ? size->table.kind : 0];

    kind->tables++;
    kind->values += size->values;
    kind->value_bytes += size->value_bytes;
    kind->stored_bytes += size->stored_bytes;
}

static enum status show(struct store *store, const struct request *request, struct error *ret_error)
{
    struct kind_size kinds[STATE_HOT + 1] = {{0}};
    struct store_figures figures;
    char time[TIME_TEXT_SIZE];
    enum status status = store_tables(store, add_table, kinds, ret_error);

    if (status == STATUS_OK)
        status = store_figures(store, &figures, ret_error);
    if (status != STATUS_OK)
        return status;
    if (figures.generation) {
        time_format(figures.flipped_us, time);
        printf("generation     %llu of %.*s\n", (unsigned long long)figures.generation, TIME_TEXT_SIZE, time);
    } else {
        printf("generation     none yet\n");
    }
    printf("file           %lld bytes\n", (long long)figures.file_bytes);
    for (uint32_t kind = 0; kind <= STATE_HOT; kind++)
        if (kinds[kind].values)
            printf("%-14s %llu values in %llu tables, %llu bytes, %llu stored\n", state_kind_name(kind),
                   (unsigned long long)kinds[kind].values, (unsigned long long)kinds[kind].tables,
                   (unsigned long long)kinds[kind].value_bytes, (unsigned long long)kinds[kind].stored_bytes);
    printf("outbox         %llu documents, %llu bytes\n", (unsigned long long)figures.outbox_documents,
           (unsigned long long)figures.outbox_bytes);
    printf("notifications  %llu\n", (unsigned long long)figures.notifications);
    printf("alert history  %llu lines\n", (unsigned long long)figures.history_lines);
    printf("run history    %llu runs, %llu bytes\n", (unsigned long long)figures.runs,
           (unsigned long long)figures.run_bytes);
    printf("audit log      %llu lines\n", (unsigned long long)figures.audit_lines);
    return STATUS_OK;
}

static enum status archive_value(void *owner, const struct state_key *key, struct span bytes,
                                 struct error *ret_error)
{
    if (archive_write(owner, key, bytes))
        return STATUS_OK;
    return fail(ret_error, "cannot write the archive: %s", strerror(errno));
}

static enum status export_to(FILE *file, struct store *store, struct error *ret_error)
{
    struct archive *archive = archive_write_begin(file);
    enum status status = store_load(store, archive_value, archive, ret_error);

    if (status == STATUS_OK && !archive_write_end(archive))
        status = fail(ret_error, "cannot write the archive: %s", strerror(errno));
    archive_free(archive);
    return status;
}

static enum status export(struct store *store, const struct request *request, struct error *ret_error) {
    if (strcmp(request->archive, "-") == 0) return export_to(stdout, store, ret_error);
    int descriptor = open(request->archive, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "we");
    if (!file) return fail(ret_error, "cannot create %s: %s", request->archive, strerror(errno));
    enum status status = export_to(file, store, ret_error);
    if (fclose(file) != 0 && status == STATUS_OK)
        status = fail(ret_error, "cannot write %s: %s", request->archive, strerror(errno));
    return status;
}

struct table_list {
    struct state_table *tables;
    size_t count, capacity;
    uint64_t values;
    bool series_only;
};

/* What detectors have learned, and windows that are open. */
static bool is_of_series(uint32_t kind)
{
    return kind == STATE_SERIES || kind == STATE_TABLE || kind == STATE_HOT || kind == STATE_PANES ||
           kind == STATE_CORRECTIONS;
}

static void list_table(void *owner, const struct state_table_size *size)
{
    struct table_list *list = owner;

    if (list->series_only && !is_of_series(size->table.kind))
        return;
    list->tables = memory_reserve(list->tables, &list->capacity, list->count + 1, sizeof *list->tables);
    list->tables[list->count++] = size->table;
    list->values += size->values;
}

/* The generation that replaces what the list names; written into the audit log. */
static enum status flip_and_note(struct store *store, const struct table_list *dropped, const char *what,
                                 uint64_t values, struct error *ret_error)
{
    const struct store_flip flip = {.generation = store_generation(store) + 1,
                                    .dropped = dropped->tables,
                                    .dropped_count = dropped->count};
    enum status status = store_flip(store, &flip, ret_error);
    struct timespec now;
    char detail[64];

    if (status != STATUS_OK)
        return status;
    clock_gettime(CLOCK_REALTIME, &now);
    int size = snprintf(detail, sizeof detail, "{\"values\":%llu}", (unsigned long long)values);
    return store_audit(store, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, what,
                       span_make(detail, (size_t)size), ret_error);
}

static enum status import_values(struct store *store, struct archive *archive, uint64_t *ret_values,
                                 struct error *ret_error)
{
    uint64_t generation = store_generation(store) + 1, values = 0;
    struct state_value value;
    enum status status;

    while ((status = archive_read(archive, &value.key, &value.bytes, ret_error)) == STATUS_OK) {
        if ((status = store_put(store, generation, &value, 1, ret_error)) != STATUS_OK)
            return status;
        values++;
    }
    *ret_values = values;
    return status == STATUS_SKIP ? STATUS_OK : status;
}

static enum status import_from(FILE *file, struct store *store, const struct table_list *dropped,
                               struct error *ret_error)
{
    struct archive *archive;
    uint64_t values = 0;
    enum status status = archive_read_begin(file, &archive, ret_error);

    if (status != STATUS_OK)
        return status;
    status = import_values(store, archive, &values, ret_error);
    archive_free(archive);
    if (status == STATUS_OK)
        status = flip_and_note(store, dropped, "state import", values, ret_error);
    if (status == STATUS_OK)
        printf("%llu values imported, %llu replaced\n", (unsigned long long)values,
               (unsigned long long)dropped->values);
    return status;
}

static enum status import(struct store *store, const struct request *request, struct error *ret_error)
{
    bool standard_input = strcmp(request->archive, "-") == 0;
    struct table_list list = {0};
    enum status status = store_tables(store, list_table, &list, ret_error);
    FILE *file = NULL;

    if (status == STATUS_OK && list.count && !request->replace)
        status = fail(ret_error, "the store has %llu values of state; --replace drops them",
                      (unsigned long long)list.values);
    if (status == STATUS_OK && !(file = standard_input ? stdin : fopen(request->archive, "re")))
        status = fail(ret_error, "cannot open %s: %s", request->archive, strerror(errno));
    if (status == STATUS_OK)
        status = import_from(file, store, &list, ret_error);
    if (file && !standard_input)
        (void)fclose(file);
    free(list.tables);
    return status;
}

static enum status reset(struct store *store, const struct request *request, struct error *ret_error)
{
    struct table_list list = {.series_only = true};
    enum status status = store_tables(store, list_table, &list, ret_error);

    if (status == STATUS_OK)
        status = flip_and_note(store, &list, "state reset --series", list.values, ret_error);
    if (status == STATUS_OK)
        printf("%llu values forgotten\n", (unsigned long long)list.values);
    free(list.tables);
    return status;
}

static const struct action {
    const char *name;
    state_action *run;
    bool changes, takes_archive;
} actions[] = {
    {.name = "show", .run = show},
    {.name = "verify", .run = verify},
    {.name = "export", .run = export, .takes_archive = true},
    {.name = "import", .run = import, .changes = true, .takes_archive = true},
    {.name = "reset", .run = reset, .changes = true},
};

static const struct action *parse_arguments(int argc, char **argv, struct request *ret_request)
{
    struct request request = {0};
    const char *names[2] = {0};
    int count = 0;
    size_t which = 0;

    while (which < sizeof actions / sizeof *actions &&
           (argc < 2 || strcmp(argv[1], actions[which].name) != 0))
        which++;
    if (which == sizeof actions / sizeof *actions)
        return NULL;
    const struct action *action = &actions[which];
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--store") == 0 && i + 1 < argc)
            request.store = argv[++i];
        else if (action->run == import && strcmp(argv[i], "--replace") == 0)
            request.replace = true;
        else if (action->run == reset && strcmp(argv[i], "--series") == 0)
            request.series = true;
        else if (count < 2 && (argv[i][0] != '-' || argv[i][1] == '\0'))
            names[count++] = argv[i];
        else
            return NULL;
    }
    if (action->takes_archive && !(request.archive = count ? names[--count] : NULL))
        return NULL;
    request.file = count ? names[0] : NULL;
    if (count > 1 || (request.file && request.store) || (action->run == reset && !request.series))
        return NULL;
    *ret_request = request;
    return action;
}

static enum status act(const struct action *action, const struct request *request, const char *path,
                       struct error *ret_error)
{
    const struct store_options options = {.read_only = !action->changes, .must_exist = action->run != import};
    struct store *store;
    int lock = -1;
    enum status status = STATUS_OK;

    if (action->changes)
        status = store_lock(path, &lock, ret_error);
    if (status == STATUS_OK)
        status = store_open(path, &options, &store, ret_error);
    if (status == STATUS_OK) {
        status = action->run(store, request, ret_error);
        store_close(store);
    }
    store_unlock(lock);
    if (status == STATUS_OK && (fflush(stdout) || ferror(stdout)))
        status = fail(ret_error, "cannot write the output: %s", strerror(errno));
    return status;
}

int cli_state(int argc, char **argv)
{
    struct request request;
    struct error error;
    char *path = NULL;
    const struct action *action = parse_arguments(argc, argv, &request);

    if (!action) {
        (void)fputs(usage, stderr);
        return EXIT_USAGE;
    }
    int code = EXIT_USAGE;
    enum status status = arguments_store_path(request.file, request.store, &path, &error);
    if (status == STATUS_OK) {
        status = act(action, &request, path, &error);
        code = status == STATUS_OK ? EXIT_DONE : EXIT_OUTSIDE;
    }
    if (status != STATUS_OK)
        fprintf(stderr, "weir: %s\n", error.text);
    free(path);
    return code;
}
