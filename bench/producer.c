/* Some microseconds an event, so that 200,000 a second leave it half a core. */
#include "bench/producer.h"

#include "bench/report.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLEEP_US = 500, LINGER_MS = 5, EVENT_BYTES_MAX = 4096 }; /* librdkafka's own linger */

static enum status send_all(const struct producer_settings *settings, struct producer_figures *figures,
                            struct topic_writer *writer, struct error *error)
{
    static const struct span nothing = {0};
    int64_t start = atomic_load(&figures->start_us), at, now;
    enum status status = STATUS_OK;
    struct buffer event;

    buffer_init(&event, EVENT_BYTES_MAX);
    for (uint64_t i = 0; i < settings->events && status == STATUS_OK; i++) {
        at = producer_time_us(settings, start, i);
        while (status == STATUS_OK && (now = wall_clock_us()) < at) {
            status = topic_writer_put(writer, 0, nothing, error);
            usleep(SLEEP_US);
        }
        if (now - at > atomic_load_explicit(&figures->behind_us_max, memory_order_relaxed))
            atomic_store_explicit(&figures->behind_us_max, now - at, memory_order_relaxed);
        buffer_clear(&event);
        settings->event(settings->owner, i, at, &event);
        if (status == STATUS_OK)
            status =
                topic_writer_put(writer, (unsigned)(i % settings->partitions), buffer_span(&event), error);
        atomic_store_explicit(&figures->sent, i + 1, memory_order_relaxed);
    }
    buffer_free(&event);
    return status == STATUS_OK ? topic_writer_flush(writer, error) : status;
}

static _Noreturn void produce(const struct producer_settings *settings, struct producer_figures *figures,
                              pid_t parent)
{
    struct topic_writer *writer;
    struct error error;

    signal(SIGINT, SIG_IGN); /* the keyboard's goes to the parent, which ends us */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(0);
    if (topic_writer_open(settings->brokers, settings->topic, LINGER_MS, &writer, &error) == STATUS_OK) {
        while (atomic_load(&figures->start_us) == 0)
            usleep(SLEEP_US);
        if (send_all(settings, figures, writer, &error) == STATUS_OK)
            error.text[0] = '\0';
        topic_writer_close(writer);
    }
    figures->error = error;
    atomic_store(&figures->done, true);
    _exit(0);
}

enum status producer_start(const struct producer_settings *settings, struct producer *ret_producer,
                           struct error *ret_error)
{
    struct producer started;
    pid_t parent = getpid();

    started.figures =
        mmap(NULL, sizeof *started.figures, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (started.figures == MAP_FAILED)
        return fail(ret_error, "no shared memory: %s", strerror(errno));
    started.pid = fork();
    if (started.pid == 0)
        produce(settings, started.figures, parent);
    if (started.pid < 0) {
        (void)munmap(started.figures, sizeof *started.figures);
        return fail(ret_error, "cannot start a producer: %s", strerror(errno));
    }
    *ret_producer = started;
    return STATUS_OK;
}

void producer_stop(struct producer *producer)
{
    if (producer->pid <= 0)
        return;
    (void)kill(producer->pid, SIGTERM);
    (void)waitpid(producer->pid, NULL, 0);
    (void)munmap(producer->figures, sizeof *producer->figures);
    *producer = (struct producer){0};
}

void producer_generate(void *owner, uint64_t number, int64_t at_us, struct buffer *out)
{
    struct producer_stream *stream = owner;
    struct generator *generator = &stream->generator;

    if (generator->options.tasks == 0) {
        stream->options.start_us = at_us - (int64_t)((double)number * 1e6 / stream->options.rate);
        stream->options.events = UINT64_MAX;
        stream->options.jitter_us = stream->options.closing_us = 0;
        generator_init(generator, &stream->options);
    }
    generator->next = generator->arrivals = number; /* those between were not drawn from it */
    generator->arrival_us = (double)number / generator->options.rate * 1e6;
    (void)generator_next(generator, out);
}
