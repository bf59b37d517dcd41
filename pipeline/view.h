/* What the page shows: the newest lines of alerts, runs and buckets, kept in memory for readers of the HTTP API. Written by
 * the workers, read by the server's threads; one mutex, held for a copy. Bounded: the oldest give way. */
#pragma once
#include "schemas/encode.h"

enum { VIEW_ALERTS_MAX = 1000, VIEW_RUNS_MAX = 2000, VIEW_SERIES_MAX = 2000, VIEW_POINTS_MAX = 360 };

struct view;

struct view *view_new(void);
void view_free(struct view *view);

/* A line of alerts (group = episode), runs (group = id) or buckets (group = series, in order of time). Other kinds are ignored.
 * A newer line of the same group replaces the older one; of a series the newest VIEW_POINTS_MAX are kept (a line of the
 * same time replaces). */
void view_put(struct view *view, enum document_kind kind, struct id128 group, int64_t time_us, struct span line);

/* JSON arrays of lines, newest first (points of a series: oldest first). */
void view_list(struct view *view, enum document_kind kind, size_t limit, struct buffer *out);

/* [{"series": hex, "measure": .., "key": {..}, "points": n}], in order of first appearance. */
void view_series(struct view *view, struct buffer *out);
bool view_points(struct view *view, struct id128 series, struct buffer *out); /* false: no such series */
