/* Columns counted in one pass, with the very results of the same counts made by numpy and polars.
 *
 * Plain C, loaded by ctypes; the callers in Python have checked every length. Compile it without -ffast-math and with
 * -ffp-contract=off, or the last digits are others.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__) && !defined(LOOPLINE_NARROW)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define SHOWN __attribute__((visibility("default")))

enum { PIECE = 1 << 15 };             /* rows that stay in the cache together: as kernel.py has them */
enum { BLOCK = 2048, HASHED = 2048 };  /* and those that stay in its first level */
enum { UNROLLED = 4, LINE = 8 };     /* registers side by side; numbers that memory gives together */
enum { SUMS = 8, TOGETHER = 128 };    /* as numpy's pairwise sums have them */
enum { MOMENTS = 5 };                 /* rows, mean, squared distances from it, least, most */
enum { REGISTERS = 256, BITS = 8, SHIFT = 33 }; /* as distinct.py has them */
static const uint64_t FIRST_FACTOR = 0xFF51AFD7ED558CCD, SECOND_FACTOR = 0xC4CEB9FE1A85EC53;

struct bins {
    const double *edges; /* rising: the first number of each bin, and of what is above them */
    int count;
};

struct counts { /* of one stretch */
    int64_t *passed;    /* how many reach each edge */
    uint8_t *registers; /* of the sketch */
    double *moments;    /* of the piece that is counted */
};

/* --- the sketch of how many different values there are --- */

static inline uint64_t hash_of(double number) {
    uint64_t bits;
    number += 0.0;
    memcpy(&bits, &number, sizeof bits);
    bits ^= bits >> SHIFT;
    bits *= FIRST_FACTOR;
    bits ^= bits >> SHIFT;
    bits *= SECOND_FACTOR;
    return bits ^ bits >> SHIFT;
}

/* The bits of a hash that would have to be 0 for a rank that changes anything: every register has reached the others. */
static uint64_t reached_by(const uint8_t *registers) {
    uint8_t least = UINT8_MAX;
    for (int r = 0; r < REGISTERS; r++)
        least = registers[r] < least ? registers[r] : least;
    return (((uint64_t)1 << least) - 1) << BITS;
}

static void take(const uint64_t *hashes, int count, uint8_t *registers) {
    for (int r = 0; r < count; r++) {
        const uint64_t rest = hashes[r] >> BITS | (uint64_t)1 << (63 - BITS);
        const uint8_t rank = (uint8_t)(__builtin_ctzll(rest) + 1);
        uint8_t *to = registers + hashes[r] % REGISTERS;
        *to = rank > *to ? rank : *to;
    }
}

/* --- numbers --- */

static int without_nan(const double *x, int count, double *to) {
    int kept = 0;
    for (int r = 0; r < count; r++) {
        to[kept] = x[r];
        kept += !isnan(x[r]);
    }
    return kept;
}

static int within_range(double *x, int count) {
    int kept = 0;
    for (int r = 0; r < count; r++) {
        x[kept] = x[r];
        kept += isfinite(x[r]) != 0;
    }
    return kept;
}

/* Which width it is makes no difference to any number. */

#define LANES 2
#define TARGET
#define NAME(what) what##_2
#include "wide.h"

typedef int (*piece_of)(const double *, int, const struct bins *, struct counts, uint8_t *, double *);

#if defined(__x86_64__) && !defined(LOOPLINE_NARROW)
#define LANES 4
#define TARGET __attribute__((target("avx2")))
#define NAME(what) what##_4
#include "wide.h"

#define LANES 8
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw")))
#define NAME(what) what##_8
#include "wide.h"

static piece_of widest(void) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw"))
        return piece_8;
    return __builtin_cpu_supports("avx2") ? piece_4 : piece_2;
}
#else
static piece_of widest(void) {
    return piece_2;
}
#endif

/* The stretches of a column from each of the `bounds` up to the next. For each: how many are NaN, how many reach each of the `edges`, and
 * the registers; all come zeroed. `moments` has those of each piece, one stretch after the other; `places`, where given, the place of each
 * row. Returns whether there was room. */
SHOWN int loopline_numbers(const double *x, const int64_t *bounds, int64_t stretches, const double *edges, int64_t edge_count,
                           int64_t *nulls, int64_t *passed, uint8_t *registers, double *moments, uint8_t *places) {
    const struct bins bins = {edges, (int)edge_count};
    const piece_of piece = widest();
    double *room = malloc(PIECE * sizeof *room);
    if (room == NULL)
        return 0;
    for (int64_t s = 0; s < stretches; s++) {
        struct counts to = {passed + s * edge_count, registers + s * REGISTERS, moments};
        for (int64_t begin = bounds[s]; begin < bounds[s + 1]; begin += PIECE, to.moments += MOMENTS) {
            const int64_t left = bounds[s + 1] - begin;
            const int count = left < PIECE ? (int)left : PIECE;
            nulls[s] += count - piece(x + begin, count, &bins, to, places ? places + begin : NULL, room);
        }
        moments = to.moments;
    }
    free(room);
    return 1;
}

/* --- texts: Arrow's C stream interface, and its layout of views --- */

struct schema {
    const char *format, *name, *metadata;
    int64_t flags, children_count;
    struct schema **children, *dictionary;
    void (*release)(struct schema *);
    void *private_data;
};

struct array {
    int64_t length, null_count, offset, buffer_count, children_count;
    const void **buffers;
    struct array **children, *dictionary;
    void (*release)(struct array *);
    void *private_data;
};

struct stream {
    int (*schema_of)(struct stream *, struct schema *);
    int (*next)(struct stream *, struct array *);
    const char *(*last_error)(struct stream *);
    void (*release)(struct stream *);
    void *private_data;
};

enum { INSIDE = 12 }; /* bytes of a text that are in its view */

struct view { /* length and twelve bytes; of a longer text four bytes, the number of a buffer and a place in it */
    uint32_t length;
    uint8_t begin[4];
    union {
        uint64_t rest;
        struct {
            uint32_t buffer, offset;
        };
    };
};

enum { SLOTS = 1024, MOST = 512 }; /* `_MOST` of kernel.py */
enum { AHEAD = 128 };              /* views that are fetched meanwhile */

struct slot {
    struct view view;
    int64_t count;
    int32_t code; /* in the order of appearance */
};

struct tally {
    struct slot slots[SLOTS];
    struct slot *known[MOST]; /* by code */
    int count;
    const uint8_t *const *buffers; /* of the longer texts */
};

INLINE uint64_t first_of(struct view view) {
    uint64_t first;
    memcpy(&first, &view, sizeof first);
    return first;
}

INLINE const uint8_t *bytes_of(const struct tally *tally, struct view view) {
    return tally->buffers[view.buffer] + view.offset;
}

static uint64_t mixed_long(const struct tally *tally, struct view view) {
    const uint8_t *bytes = bytes_of(tally, view);
    uint64_t mixed = view.length, some;
    for (uint32_t at = 0; at + sizeof some <= view.length; at += sizeof some) {
        memcpy(&some, bytes + at, sizeof some);
        mixed = (mixed ^ some) * FIRST_FACTOR;
        mixed ^= mixed >> SHIFT;
    }
    memcpy(&some, bytes + view.length - sizeof some, sizeof some);
    return (mixed ^ some) * SECOND_FACTOR;
}

INLINE int same(const struct tally *tally, struct view one, struct view other) {
    if (first_of(one) != first_of(other))
        return 0;
    return one.rest == other.rest ||
           (one.length > INSIDE && !memcmp(bytes_of(tally, one), bytes_of(tally, other), one.length));
}

/* The slot of a text; NULL where there are too many. */
INLINE struct slot *slot_of(struct tally *tally, struct view view) {
    const uint64_t mixed = view.length > INSIDE ? mixed_long(tally, view)
                                                : (first_of(view) ^ view.rest * FIRST_FACTOR) * SECOND_FACTOR;
    for (uint32_t place = (uint32_t)(mixed >> 40) % SLOTS;; place = (place + 1) % SLOTS) {
        struct slot *slot = tally->slots + place;
        if (slot->count) {
            if (same(tally, slot->view, view))
                return slot;
        } else if (tally->count == MOST)
            return NULL;
        else {
            slot->view = view;
            slot->code = tally->count;
            return tally->known[tally->count++] = slot;
        }
    }
}

/* Returns whether there were no more than MOST texts. */
static int tally_array(struct tally *tally, const struct array *array, int64_t *firsts, int64_t *nulls, int32_t *codes) {
    const uint8_t *valid = array->null_count ? array->buffers[0] : NULL;
    const struct view *views = (const struct view *)array->buffers[1] + array->offset;
    tally->buffers = (const uint8_t *const *)array->buffers + 2;
    for (int64_t r = 0; r < array->length; r++) {
        const int64_t bit = array->offset + r;
        __builtin_prefetch(views + r + AHEAD, 0, 1);
        if (valid && !(valid[bit / 8] >> bit % 8 & 1)) {
            ++*nulls;
            if (codes)
                codes[r] = -1;
            continue;
        }
        struct slot *slot = slot_of(tally, views[r]);
        if (slot == NULL)
            return 0;
        if (!slot->count++)
            firsts[slot->code] = r;
        if (codes)
            codes[r] = slot->code;
    }
    return 1;
}

/* How often each text is in a column of `rows`, and where it is first. `firsts` and `counts` have room for MOST, `nulls` comes zeroed;
 * `codes`, where given, gets the place of each row's text among them, or -1. Returns how many there are, or -1 where they are too many,
 * or the column is in several arrays or not of views. */
SHOWN int loopline_texts(struct stream *stream, int64_t rows, int64_t *firsts, int64_t *counts, int64_t *nulls, int32_t *codes) {
    struct schema schema = {0};
    if (stream->schema_of(stream, &schema))
        return -1;
    const int views = !strcmp(schema.format, "vu");
    schema.release(&schema);
    struct array array = {0};
    if (!views || stream->next(stream, &array) || array.release == NULL)
        return -1;
    int found = -1;
    struct tally *tally = array.length == rows ? calloc(1, sizeof *tally) : NULL;
    if (tally != NULL && tally_array(tally, &array, firsts, nulls, codes)) {
        found = tally->count;
        for (int code = 0; code < found; code++)
            counts[code] = tally->known[code]->count;
    }
    free(tally);
    array.release(&array);
    return found;
}
