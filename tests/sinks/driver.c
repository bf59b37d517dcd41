#include "tests/sinks/driver.h"

#include "base/memory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { STEPS_MAX = 60000 };

static void warn(void *owner, const char *text)
{
    struct driver *driver = owner;

    driver->warnings++;
    snprintf(driver->warning, sizeof driver->warning, "%s", text);
}

enum status driver_try(struct driver *driver, const char *type, const char *yaml, struct error *ret_error)
{
    struct option_table table;
    struct sink_context context = {.name = "test", .pipeline = "p", .warn = warn, .owner = driver};

    signal(SIGPIPE, SIG_IGN);
    setenv("no_proxy", "127.0.0.1", 1);
    *driver = (struct driver){.now_us = 1700000000000000, .step_us = 10000, .type = sink_type_find(type)};
    assert_non_null(driver->type);
    driver->settings = memory_new(driver->type->settings_size);
    table = (struct option_table){driver->type->options, driver->type->option_count, driver->settings};
    if (config_parse(yaml, "test.yaml", &driver->config, ret_error) != STATUS_OK ||
        options_read(config_root(driver->config), &table, 1, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    return driver->type->open(driver->settings, &context, &driver->sink, ret_error);
}

void driver_open(struct driver *driver, const char *type, const char *format, ...)
{
    struct error error = {""};
    char yaml[2048];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(yaml, sizeof yaml, format, arguments);
    va_end(arguments);
    if (driver_try(driver, type, yaml, &error) != STATUS_OK)
        fail_msg("%s", error.text);
}

void driver_close(struct driver *driver)
{
    struct option_table table = {driver->type->options, driver->type->option_count, driver->settings};

    if (driver->sink)
        driver->type->close(driver->sink);
    for (size_t i = 0; i < driver->verdicts.count; i++) {
        free(driver->verdicts.items[i].reason);
        free(driver->verdicts.items[i].body);
    }
    free(driver->verdicts.items);
    options_free(&table, 1);
    free(driver->settings);
    config_free(driver->config);
}

bool driver_step(struct driver *driver)
{
    if (driver->steps++ > STEPS_MAX)
        return false;
    driver->now_us += driver->step_us;
    driver->type->advance(driver->sink, driver->now_us, driver->flush, &driver->verdicts);
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    return true;
}

void driver_settle(struct driver *driver, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++)
        driver_step(driver);
}

enum status driver_offer(struct driver *driver, enum document_kind kind, uint64_t number, uint64_t version,
                         const char *body)
{
    struct document document = {
        .kind = kind,
        .id = {.high = 7, .low = number},
        .version = version,
        .time_us = 1700000000000000, /* 2023-11-14 */
        .body = span_of(body),
        .ticket = number,
    };

    if (kind == DOC_ALERT)
        document.group = (struct id128){.high = 9, .low = number};
    return driver->type->offer(driver->sink, &document);
}

size_t driver_dead(const struct driver *driver)
{
    size_t dead = 0;

    for (size_t i = 0; i < driver->verdicts.count; i++)
        dead += driver->verdicts.items[i].dead_letter;
    return dead;
}

size_t driver_done(const struct driver *driver)
{
    return driver->verdicts.count - driver_dead(driver);
}

struct sink_figures driver_figures(const struct driver *driver)
{
    struct sink_figures figures = {0};

    driver->type->figures(driver->sink, &figures);
    return figures;
}
