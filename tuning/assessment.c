/* Runs once a trial over its alerts, some hundreds; incidents are found by series, so that a trial costs what
 * its alerts cost. */
#include "tuning/assessment.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define DAY_US 86400e6

static int compare_times(const void *left, const void *right)
{
    const int64_t *a = left, *b = right;

    return (*a > *b) - (*a < *b);
}

static bool is_within(const struct truth *truth, const struct incident *incident)
{
    const struct history *history = truth->history;

    return incident->start_us >= history->first_us - history->measure->shape.window_us &&
           incident->start_us <= history->last_us;
}

/* The time up to which the share of the incidents has started, or of the history without incidents. */
static int64_t time_at(const struct truth *truth, const int64_t *starts, size_t count, double share)
{
    const struct history *history = truth->history;

    if (count >= PARTS)
        return starts[(size_t)(share * (double)count)] - truth->early_us - 1;
    return history->first_us + (int64_t)(share * (double)(history->last_us - history->first_us));
}

static size_t count_until(const int64_t *starts, size_t count, int64_t until_us)
{
    size_t before = 0;

    while (before < count && starts[before] <= until_us)
        before++;
    return before;
}

/* The cut, moved back to where no incident is under way; as it was when that leaves less than half of the
 * incidents before it. */
static int64_t between_incidents(const struct truth *truth, const int64_t *starts, size_t count,
                                 int64_t cut_us)
{
    int64_t moved_us = cut_us;
    bool again = true;

    for (size_t turns = 0; again && turns <= truth->labels->count; turns++) {
        again = false;
        for (size_t i = 0; i < truth->labels->count; i++) {
            const struct incident *incident = &truth->labels->items[i];

            if (!is_within(truth, incident) || incident->start_us - truth->early_us > moved_us ||
                incident->end_us + truth->grace_us <= moved_us)
                continue;
            moved_us = incident->start_us - truth->early_us - 1;
            again = true;
        }
    }
    return 2 * count_until(starts, count, moved_us) >= count_until(starts, count, cut_us) ? moved_us : cut_us;
}

static void cut_time(struct truth *truth)
{
    const struct labels *labels = truth->labels;
    int64_t *starts = memory_new(((labels ? labels->count : 0) + 1) * sizeof *starts);
    size_t count = 0;

    for (size_t i = 0; labels && i < labels->count; i++)
        if (!labels->items[i].ignore && is_within(truth, &labels->items[i]))
            starts[count++] = labels->items[i].start_us;
    qsort(starts, count, sizeof *starts, compare_times);
    for (unsigned part = 0; part < PARTS; part++) {
        int64_t cut_us = time_at(truth, starts, count, (part + 1) * 2.0 / 9);

        truth->part_end_us[part] = part == PART_HELD ? INT64_MAX
                                   : labels          ? between_incidents(truth, starts, count, cut_us)
                                                     : cut_us;
        if (part && truth->part_end_us[part] < truth->part_end_us[part - 1])
            truth->part_end_us[part] = truth->part_end_us[part - 1];
    }
    truth->held = truth->part_end_us[PART_HELD - 1] < truth->history->last_us;
    free(starts);
}

struct dealt {
    uint64_t hash;
    uint32_t series;
};

static int compare_dealt(const void *left, const void *right)
{
    const struct dealt *a = left, *b = right;

    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return (a->series > b->series) - (a->series < b->series);
}

/* In the order of their hashes, two ninths a fold, as time is cut. */
static void deal_series(struct truth *truth)
{
    static const uint8_t turns[] = {0, 1, 2, PART_HELD, 0, PART_HELD, 1, 2, PART_HELD};
    const struct history *history = truth->history;
    struct dealt *dealt = memory_new((history->count + 1) * sizeof *dealt);

    for (uint32_t i = 0; i < history->count; i++) {
        const char *name = history->series[i].name;

        dealt[i] = (struct dealt){hash_bytes(name, strlen(name), 0), i};
    }
    qsort(dealt, history->count, sizeof *dealt, compare_dealt);
    truth->series_part = memory_new(history->count + 1);
    for (size_t i = 0; i < history->count; i++)
        truth->series_part[dealt[i].series] = turns[i % sizeof turns];
    truth->held = history->count >= PARTS;
    free(dealt);
}

static void list_incidents(struct truth *truth)
{
    const struct history *history = truth->history;
    const struct labels *labels = truth->labels;
    bool *has_series = memory_new(labels->count + 1);
    size_t used = 0, capacity = 0;

    truth->incident_first = memory_new((history->count + 1) * sizeof *truth->incident_first);
    for (size_t s = 0; s < history->count; s++) {
        truth->incident_first[s] = used;
        for (size_t i = 0; i < labels->count; i++) {
            if (!is_within(truth, &labels->items[i]) ||
                !incident_matches(&labels->items[i], history->series[s].target))
                continue;
            truth->incidents = memory_reserve(truth->incidents, &capacity, used + 1, sizeof(uint32_t));
            truth->incidents[used++] = (uint32_t)i;
            has_series[i] = true;
        }
    }
    truth->incident_first[history->count] = used;
    for (size_t i = 0; i < labels->count; i++) {
        truth->outside += !is_within(truth, &labels->items[i]);
        truth->without_series += is_within(truth, &labels->items[i]) && !has_series[i];
    }
    free(has_series);
}

static void measure_parts(struct truth *truth)
{
    const struct history *history = truth->history;
    double days = (double)(history->last_us - history->first_us) / DAY_US;

    for (uint32_t s = 0; s < history->count; s++)
        for (size_t i = 0; i < history->series[s].rows; i++)
            truth->part_days[truth_part(truth, s, history->series[s].end_us[i])]++;
    for (unsigned part = 0; part < PARTS; part++)
        truth->part_days[part] *= days / (double)(history->rows ? history->rows : 1);
}

void truth_make(struct truth *truth, const struct history *history, const struct labels *labels,
                bool by_series, int64_t grace_us, int64_t early_us)
{
    *truth = (struct truth){.history = history,
                            .labels = labels,
                            .by_series = by_series,
                            .grace_us = grace_us,
                            .early_us = early_us};
    if (by_series)
        deal_series(truth);
    else
        cut_time(truth);
    if (labels)
        list_incidents(truth);
    measure_parts(truth);
}

void truth_free(struct truth *truth)
{
    free(truth->series_part);
    free(truth->incident_first);
    free(truth->incidents);
}

unsigned truth_part(const struct truth *truth, uint32_t series, int64_t time_us)
{
    unsigned part = 0;

    if (truth->by_series)
        return truth->series_part[series];
    while (part < PART_HELD && time_us > truth->part_end_us[part])
        part++;
    return part;
}

struct trial_range truth_training(const struct truth *truth)
{
    return (struct trial_range){INT64_MIN, truth->by_series ? INT64_MAX : truth->part_end_us[PART_HELD - 1]};
}

bool truth_counts(const struct truth *truth, size_t label, unsigned part)
{
    const struct incident *incident = &truth->labels->items[label];

    if (!is_within(truth, incident))
        return false;
    for (uint32_t s = 0; s < truth->history->count; s++)
        if (truth_part(truth, s, incident->start_us) == part &&
            incident_matches(incident, truth->history->series[s].target))
            return true;
    return false;
}

/* The alert against the incidents of its series and part. */
static void judge_alert(const struct truth *truth, const struct trial_alert *alert,
                        struct assessment *assessment, uint8_t *ret_verdict)
{
    unsigned part = truth_part(truth, alert->series, alert->at_us);
    bool any = false, real = false, first = false;
    size_t from = truth->labels ? truth->incident_first[alert->series] : 0;
    size_t to = truth->labels ? truth->incident_first[alert->series + 1] : 0;

    for (size_t i = from; i < to; i++) {
        const struct incident *incident = &truth->labels->items[truth->incidents[i]];
        int64_t *found_us = &assessment->found_us[truth->incidents[i] * (size_t)PARTS + part];

        if (truth_part(truth, alert->series, incident->start_us) != part ||
            alert->at_us < incident->start_us - truth->early_us ||
            alert->at_us > incident->end_us + truth->grace_us)
            continue;
        any = true;
        real |= !incident->ignore;
        first |= !incident->ignore && *found_us == TIME_NONE;
        if (*found_us == TIME_NONE || alert->at_us < *found_us)
            *found_us = alert->at_us;
    }
    *ret_verdict = !any ? ALERT_FALSE : !real ? ALERT_EXCUSED : first ? ALERT_RIGHT : ALERT_REPEAT;
    struct tally *tally = &assessment->parts[part];
    tally->alerts++;
    tally->false_alerts += !any;
    tally->ignored += any && !real;
    tally->repeats += real && !first;
}

static void count_incidents(const struct truth *truth, struct assessment *assessment)
{
    size_t count = truth->labels->count;
    bool *seen = memory_new(count * PARTS + 1);

    for (uint32_t s = 0; s < truth->history->count; s++)
        for (size_t i = truth->incident_first[s]; i < truth->incident_first[s + 1]; i++) {
            const struct incident *incident = &truth->labels->items[truth->incidents[i]];
            unsigned part = truth_part(truth, s, incident->start_us);
            size_t place = truth->incidents[i] * (size_t)PARTS + part;
            struct tally *tally = &assessment->parts[part];

            if (incident->ignore || seen[place])
                continue;
            seen[place] = true;
            tally->incidents++;
            tally->found += assessment->found_us[place] != TIME_NONE;
            if (assessment->found_us[place] > incident->start_us) /* TIME_NONE is before all */
                tally->delay_s += (double)(assessment->found_us[place] - incident->start_us) * 1e-6;
        }
    free(seen);
}

void assessment_make(const struct truth *truth, const struct trial_alerts *alerts,
                     struct assessment *ret_assessment)
{
    size_t places = (truth->labels ? truth->labels->count : 0) * PARTS;

    *ret_assessment = (struct assessment){.found_us = memory_new((places + 1) * sizeof(int64_t)),
                                          .alerts = memory_new(alerts->count + 1)};
    for (size_t i = 0; i < places; i++)
        ret_assessment->found_us[i] = TIME_NONE;
    for (size_t i = 0; i < alerts->count; i++)
        judge_alert(truth, &alerts->items[i], ret_assessment, &ret_assessment->alerts[i]);
    if (truth->labels)
        count_incidents(truth, ret_assessment);
}

void assessment_free(struct assessment *assessment)
{
    free(assessment->found_us);
    free(assessment->alerts);
}

void tally_add(struct tally *tally, const struct tally *more)
{
    tally->incidents += more->incidents;
    tally->found += more->found;
    tally->alerts += more->alerts;
    tally->false_alerts += more->false_alerts;
    tally->repeats += more->repeats;
    tally->ignored += more->ignored;
    tally->delay_s += more->delay_s;
    tally->compared += more->compared;
    tally->flips += more->flips;
}

double tally_recall(const struct tally *tally)
{
    return tally->incidents ? (double)tally->found / tally->incidents : 0;
}

double tally_precision(const struct tally *tally)
{
    uint32_t told = tally->found + tally->false_alerts;

    return told ? (double)tally->found / told : 0;
}

double tally_f1(const struct tally *tally)
{
    double precision = tally_precision(tally), recall = tally_recall(tally);

    return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
}
