/* The part that is compiled for each width of registers: LANES numbers in one, TARGET the processors that have it, NAME(x) its names. */

typedef uint32_t NAME(lanes) __attribute__((vector_size(LANES * 4), may_alias));
typedef float NAME(floats) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

/* Where rows end in a tree of few leaves: `ends` are leaves, counted from the tree's first. */
INLINE TARGET void NAME(strike)(const struct split *split, const struct split *end, const float *values, uint32_t *ends,
                                int rows, int count, int words, int missing) {
    NAME(lanes) alive[2][VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < rows / LANES; v++)
        alive[0][v] = alive[1][v] = ~(NAME(lanes)){0};
    for (; split < end; split++) {
        const NAME(floats) *x = (const NAME(floats) *)(values + (size_t)split->column * rows);
        const int right = missing && !split->missing_left;
#pragma GCC unroll 4
        for (int v = 0; v < rows / LANES; v++) {
            const NAME(lanes) left =
                right ? (NAME(lanes))(x[v] <= split->threshold) : ~(NAME(lanes))(x[v] > split->threshold);
            alive[0][v] &= left | split->keep[0];
            if (words == 2)
                alive[1][v] &= left | split->keep[1];
        }
    }
    const uint32_t *low = (const uint32_t *)alive[0], *high = (const uint32_t *)alive[1];
    for (int r = 0; r < count; r++)
        ends[r] = words == 2 ? (uint32_t)__builtin_ctzll(low[r] | (uint64_t)high[r] << 32) : (uint32_t)__builtin_ctz(low[r]);
}

/* The same in a tree of many leaves. */
INLINE TARGET void NAME(walk)(const struct node *nodes, uint32_t root, const float *values, uint32_t *ends, int rows,
                              int count, int missing) {
    uint32_t at[WALKED], moved;
    for (int start = 0; start < count; start += WALKED) {
        const int some = rows < WALKED ? rows : WALKED;
        for (int r = 0; r < some; r++)
            at[r] = root;
        do {
            moved = 0;
            for (int r = 0; r < some; r++) {
                const struct node *node = nodes + at[r];
                const float x = values[(size_t)node->column * rows + start + r];
                uint32_t right = x > node->threshold;
                if (missing)
                    right |= (uint32_t)(x != x) & node->child;
                const uint32_t next = (node->child >> 1) + (right & 1);
                moved |= next ^ at[r];
                at[r] = next;
            }
        } while (moved);
        for (int r = 0; r < some; r++)
            ends[start + r] = nodes[at[r]].leaf;
    }
}

INLINE TARGET void NAME(sum)(const struct forest *forest, const float *values, float *sums, int rows, int count,
                             int missing) {
    uint32_t ends[MANY];
    const uint32_t width = forest->width;
    for (uint32_t t = 0; t < forest->count; t++) {
        const struct tree *tree = forest->trees + t;
        const struct split *splits = forest->splits + tree->first, *end = forest->splits + tree->end;
        if (tree->words == 1)
            NAME(strike)(splits, end, values, ends, rows, count, 1, missing);
        else if (tree->words == 2)
            NAME(strike)(splits, end, values, ends, rows, count, 2, missing);
        else
            NAME(walk)(forest->nodes, tree->root, values, ends, rows, count, missing);
        const float *leaves = forest->leaves + (size_t)tree->leaf * width;
        if (width == 1) {
            float *to = sums + (size_t)tree->target * rows;
            for (int r = 0; r < count; r++)
                to[r] += leaves[ends[r]];
        } else {
            for (int r = 0; r < count; r++)
                for (uint32_t k = 0; k < width; k++)
                    sums[(size_t)r * width + k] += leaves[(size_t)ends[r] * width + k];
        }
    }
}

/* `count` rows as columns of `rows` numbers; the last row again where rows are missing. Says whether a value is NaN. */
INLINE TARGET int NAME(turn)(const struct forest *forest, const float *matrix, int64_t stride, int count, float *values,
                             int rows) {
    int missing = 0;
    for (uint32_t c = 0; c < forest->used; c++) {
        const float *from = matrix + forest->columns[c];
        for (int r = 0; r < rows; r++) {
            const float x = from[(r < count ? r : count - 1) * stride];
            values[(size_t)c * rows + r] = x;
            missing |= x != x;
        }
    }
    return missing;
}

INLINE TARGET void NAME(block)(const struct forest *forest, const float *matrix, int64_t stride, int count, float *out,
                               float *room, int rows) {
    const uint32_t targets = forest->targets, outputs = outputs_of(forest);
    float *sums = room, *scores = sums + (size_t)targets * rows, *values = scores + targets;
    memset(sums, 0, (size_t)targets * rows * sizeof *sums);
    if (NAME(turn)(forest, matrix, stride, count, values, rows))
        NAME(sum)(forest, values, sums, rows, count, 1);
    else
        NAME(sum)(forest, values, sums, rows, count, 0);
    for (int r = 0; r < count; r++) {
        for (uint32_t k = 0; k < targets; k++)
            scores[k] = forest->width == 1 ? sums[(size_t)k * rows + r] : sums[(size_t)r * targets + k];
        finish(forest, scores, out + (size_t)r * outputs);
    }
}

static TARGET void NAME(score)(const struct forest *forest, const float *matrix, int64_t count, int64_t stride, float *out,
                               float *room) {
    for (; count >= MANY; count -= MANY, matrix += MANY * stride, out += (size_t)MANY * outputs_of(forest))
        NAME(block)(forest, matrix, stride, MANY, out, room, MANY);
    if (count > 2 * LANES)
        NAME(block)(forest, matrix, stride, (int)count, out, room, MANY);
    else
        for (; count > 0; count -= LANES, matrix += LANES * stride, out += (size_t)LANES * outputs_of(forest))
            NAME(block)(forest, matrix, stride, count < LANES ? (int)count : LANES, out, room, LANES);
}

#undef LANES
#undef TARGET
#undef NAME
