/* What the page of each process of a cluster shows of the others: every line that this process's engines
 * put into the view is also sent to the topic APPLICATION-page, and the lines of the others are read from it
 * and put into the view. The page is not the truth: lines are sent beside all transactions, and are dropped
 * and counted when they are too many or no broker takes them. A line that comes late does not replace a newer
 * one, and what is computed again after a task has moved has the version that it had. */
#pragma once
#include "pipeline/cluster.h"
#include "pipeline/view.h"

struct cluster_page;

/* Before any engine of the process is started. From now on what is put into the view is sent; what the last
 * hour told (PAGE_MESSAGES_BACK at most) comes with the next polls, this process's own of before its start
 * included. No broker is waited for. */
enum { PAGE_MESSAGES_BACK = 20000 };
enum status cluster_page_open(struct cluster *cluster, struct view *view, struct cluster_page **ret_page,
                              struct error *ret_error);

/* A few times a second, on the cluster's thread: sends what waits, takes what has come for 50 ms at most. */
void cluster_page_poll(struct cluster_page *page);

/* Sends the rest, waiting 2 s at most. After all engines are freed, before cluster_close. */
void cluster_page_close(struct cluster_page *page);

struct cluster_page_figures { /* lines, but for the last */
    uint64_t sent, dropped, received, broken_messages;
};
struct cluster_page_figures cluster_page_figures(const struct cluster_page *page); /* any thread */

/* A message: a head with the sender's token, and lines. */
void cluster_page_pack_head(uint64_t token, struct buffer *out);
void cluster_page_pack_line(const struct view_line *line, struct buffer *out);

/* The bytes may be anything; lines are put into the view only when all of them are whole. False: they are
 * not. A message of the token `own` is left out. ret_lines: how many were put. */
bool cluster_page_unpack(struct span bytes, uint64_t own, struct view *view, uint64_t *ret_lines);
