/* What the page shows: the newest lines of alerts, runs and buckets, kept in memory for readers of the
 * HTTP API. Written by the workers, and in a cluster with what other processes tell (cluster_page.h); read by
 * the server's threads; one mutex, held for a copy. Bounded: the oldest give way, of alerts those
 * that are resolved first. */
#pragma once
#include "schemas/encode.h"

enum {
    VIEW_ALERTS_MAX = 1000,
    VIEW_HISTORY_MAX = 50, /* earlier lines of an alert */
    VIEW_RUNS_MAX = 2000,
    VIEW_SERIES_MAX = 2000,
    VIEW_POINTS_MAX = 360,
};

/* Beside the numbers: bytes of the lines of one kind. Series share theirs evenly once it is reached, and
 * pass it at most twofold. */
#define VIEW_LINES_BYTES  ((size_t)16 << 20)
#define VIEW_POINTS_BYTES ((size_t)64 << 20)

/* With VIEW_SERIES_MAX kept, a new one is shown only in place of one whose newest point is so much older
 * than its first: with more live series than fit, they would push each other out at every bucket. */
#define VIEW_SERIES_QUIET_US ((int64_t)3600 * 1000 * 1000)

struct view;

struct view *view_new(void);
void view_free(struct view *view);

/* A line of alerts (group = episode), runs (group = id) or buckets (group = series, in order of time). */
struct view_line {
    enum document_kind kind;
    struct id128 group;
    int64_t time_us;
    uint64_t version; /* the document's */
    struct span text;
};

/* Other kinds are ignored. A line replaces the one of the same group, of a series the one of the same time,
 * unless that has a greater version: the rule of search servers, so that all pages end up alike. Of a series
 * the newest VIEW_POINTS_MAX are kept, of an alert the VIEW_HISTORY_MAX lines before the newest. */
void view_put(struct view *view, const struct view_line *line);

/* A line that another process has put, perhaps long ago. The text is JSON of unknown origin. False: it is not
 * a line of the kind, and left out. */
bool view_hear(struct view *view, const struct view_line *line);

/* Called after each view_put of a kind that is shown, on its thread; must not block. Set while nobody puts;
 * NULL: none. */
typedef void view_tap(void *owner, const struct view_line *line);
void view_set_tap(struct view *view, view_tap *tap, void *owner);

/* Which lines are asked for. */
struct view_match {
    const char *member; /* of the line's object */
    struct span text;   /* as JSON writes it, with quotes; empty: it is not there, or not a text */
};
struct view_query {
    const struct view_match *matches; /* of each member that is named, one of its texts */
    const struct span *words; /* each is somewhere in the line's texts, names of members apart; as JSON writes
                                 it, without quotes; A-Z are as a-z */
    size_t match_count, word_count;
    size_t skip, limit; /* of those that are asked for */
};

/* A JSON array of lines of alerts or runs, newest time_us first; of equal times the last written first.
 * Returns how many are asked for, beside skip and limit. */
size_t view_list(struct view *view, enum document_kind kind, const struct view_query *query,
                 struct buffer *out);

/* A JSON array of the lines of an alert, oldest first. False: no such episode. */
bool view_history(struct view *view, struct id128 episode, struct buffer *out);

/* [{"series": hex, "measure": .., "key": {..}, "points": n, "newest": time, "anomaly_at": time}], in order
 * of first appearance; anomaly_at is the newest anomalous point's time, left out when there is none. */
void view_series(struct view *view, struct buffer *out);

/* A JSON array of the lines of one series, oldest first. False: no such series. */
bool view_points(struct view *view, struct id128 series, struct buffer *out);
