/* Many rows through many trees at once, without a branch that depends on a row.
 *
 * Plain C, loaded by ctypes; `flat.py` makes what `struct forest` points to and has checked every index in it.
 * Sums are float32, tree by tree, as ONNX Runtime's: rows are taken side by side, never the trees of a row. Compile it without
 * -ffast-math and with -ffp-contract=off, or the sums are others.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { VECTORS = 4, WALKED = 16 }; /* side by side: registers of rows, and what walks */
enum { ALONE = 2 };                /* so many rows are done sooner one by one */
enum { NONE, LOGISTIC, SOFTMAX };
enum { AS_THEY_ARE, SHARE, SIGNED }; /* what becomes of one score for two classes */

struct split { /* of a tree with few leaves: where a row goes right, those of the left side are struck out of its two words */
    float threshold;
    uint32_t column;
    uint32_t missing_left;
    uint32_t keep[2];
};

struct node { /* of any tree: the right child is beside the left one, a leaf's child is itself */
    float threshold;
    uint32_t column;
    uint32_t child; /* times 2, plus whether a missing value goes right */
    uint32_t leaf;
};

struct tree {
    uint32_t root;
    uint32_t words;      /* that tell its leaves apart, 32 each; 0: more than two, there are no splits */
    uint32_t first, end; /* its splits */
    uint32_t leaf;       /* its first leaf */
    uint32_t target;     /* what its leaves add to, where they add one number */
};

struct forest {
    const struct tree *trees;
    const struct split *splits;
    const struct node *nodes;
    const float *leaves;      /* `width` numbers a leaf */
    const uint32_t *columns;  /* of the rows, those that are asked for */
    const float *base;        /* one number a target */
    uint32_t count, width, targets, used;
    uint32_t average, based, transform, second;
};

/* --- what is made of sums --- */

static inline uint32_t outputs_of(const struct forest *forest) {
    return forest->second == AS_THEY_ARE ? forest->targets : 2;
}

static float logistic(float value) {
    const float found = 1 / (1 + expf(-fabsf(value)));
    return value < 0 ? 1 - found : found;
}

static void softmax(float *values, uint32_t count) {
    float most = -3.402823466e+38F, all = 0;
    for (uint32_t k = 0; k < count; k++)
        most = values[k] > most ? values[k] : most;
    for (uint32_t k = 0; k < count; k++)
        all += values[k] = expf(values[k] - most);
    for (uint32_t k = 0; k < count; k++)
        values[k] /= all;
}

/* One score for two classes, as ONNX Runtime 1.22 and later make it; earlier ones differ, and are found to. */
static void two_classes(const struct forest *forest, float score, float *out) {
    if (forest->transform == LOGISTIC)
        out[0] = logistic(-score), out[1] = logistic(score);
    else
        out[0] = forest->second == SHARE ? 1.0F - score : -score, out[1] = score;
}

static void finish(const struct forest *forest, float *scores, float *out) {
    const uint32_t targets = forest->targets;
    for (uint32_t k = 0; k < targets; k++) {
        if (forest->average)
            scores[k] /= (float)forest->count;
        if (forest->based)
            scores[k] += forest->base[k];
    }
    if (forest->second != AS_THEY_ARE) {
        two_classes(forest, scores[0], out);
        return;
    }
    if (forest->transform == SOFTMAX)
        softmax(scores, targets);
    for (uint32_t k = 0; k < targets; k++)
        out[k] = forest->transform == LOGISTIC ? logistic(scores[k]) : scores[k];
}

/* --- one row: here the trees go side by side, and the sum is made afterwards in their order --- */

static void walk_trees(const struct forest *forest, uint32_t first, int some, const float *values, uint32_t *ends) {
    const struct node *at[WALKED];
    for (int t = 0; t < some; t++)
        at[t] = forest->nodes + forest->trees[first + t].root;
    for (int moved = 1; moved;) {
        moved = 0;
        for (int t = 0; t < some; t++) {
            const float x = values[at[t]->column];
            const uint32_t right = (x > at[t]->threshold) | ((uint32_t)(x != x) & at[t]->child & 1);
            const struct node *next = forest->nodes + (at[t]->child >> 1) + right;
            moved |= next != at[t];
            at[t] = next;
        }
    }
    for (int t = 0; t < some; t++)
        ends[first + t] = at[t]->leaf;
}

static void lone(const struct forest *forest, const float *row, float *out, float *room) {
    float *sums = room, *values = sums + forest->targets;
    uint32_t *ends = (uint32_t *)(values + forest->used);
    for (uint32_t c = 0; c < forest->used; c++)
        values[c] = row[forest->columns[c]];
    for (uint32_t t = 0; t < forest->count; t += WALKED)
        walk_trees(forest, t, forest->count - t < WALKED ? (int)(forest->count - t) : WALKED, values, ends);
    memset(sums, 0, forest->targets * sizeof *sums);
    for (uint32_t t = 0; t < forest->count; t++) {
        const struct tree *tree = forest->trees + t;
        for (uint32_t k = 0; k < forest->width; k++)
            sums[tree->target + k] += forest->leaves[((size_t)tree->leaf + ends[t]) * forest->width + k];
    }
    finish(forest, sums, out);
}

/* --- for each width of registers; which one it is makes no difference to any number --- */

#define MANY (VECTORS * LANES)

#define LANES 4
#define TARGET
#define NAME(what) what##_4
#include "wide.h"

#if defined(__x86_64__) && !defined(LOOPLINE_NARROW)
#define LANES 8
#define TARGET __attribute__((target("avx2")))
#define NAME(what) what##_8
#include "wide.h"

#define LANES 16
#define TARGET __attribute__((target("avx512f")))
#define NAME(what) what##_16
#include "wide.h"
#endif

/* Outputs of `count` rows of `stride` numbers. Returns whether there was room; without, nothing is written. */
__attribute__((visibility("default"))) int loopline_forest(const struct forest *forest, const float *matrix, int64_t count,
                                                           int64_t stride, float *out) {
    const size_t most = VECTORS * 16, wide = (size_t)forest->targets + forest->used;
    float *room = malloc((count <= ALONE ? wide + forest->count : most * wide + forest->targets) * sizeof *room);
    if (room == NULL)
        return 0;
    if (count <= ALONE)
        for (int64_t r = 0; r < count; r++)
            lone(forest, matrix + r * stride, out + r * outputs_of(forest), room);
    else
#if defined(__x86_64__) && !defined(LOOPLINE_NARROW)
        if (count > 8 && __builtin_cpu_supports("avx512f")) /* no wider than there are rows */
            score_16(forest, matrix, count, stride, out, room);
        else if (count > 4 && __builtin_cpu_supports("avx2"))
            score_8(forest, matrix, count, stride, out, room);
        else
#endif
            score_4(forest, matrix, count, stride, out, room);
    free(room);
    return 1;
}
