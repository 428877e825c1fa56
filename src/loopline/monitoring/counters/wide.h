/* Numbers, compiled for each width of registers: LANES numbers in one, TARGET the processors that have it, NAME(x) its names. */

typedef double NAME(doubles) __attribute__((vector_size(LANES * 8), aligned(8), may_alias));
typedef int64_t NAME(signs) __attribute__((vector_size(LANES * 8), aligned(8), may_alias));
typedef uint64_t NAME(words) __attribute__((vector_size(LANES * 8), aligned(8), may_alias));

INLINE TARGET NAME(doubles) NAME(term)(const double *x, double mean, int squared) {
    const NAME(doubles) one = *(const NAME(doubles) *)x;
    if (squared)
        return (one - mean) * (one - mean);
    return one;
}

/* numpy's pairwise sum, addition by addition: of the numbers, or of the squares of how far they are from `mean`. */
INLINE TARGET double NAME(few)(const double *x, int count, double mean, int squared) {
    double found = 0;
    int done = 0;
    if (count >= SUMS) {
        NAME(doubles) sums[SUMS / LANES];
        for (int v = 0; v < SUMS / LANES; v++)
            sums[v] = NAME(term)(x + v * LANES, mean, squared);
        for (done = SUMS; done + SUMS <= count; done += SUMS)
            for (int v = 0; v < SUMS / LANES; v++)
                sums[v] += NAME(term)(x + done + v * LANES, mean, squared);
        const double *r = (const double *)sums;
        found = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    }
    for (; done < count; done++)
        found += squared ? (x[done] - mean) * (x[done] - mean) : x[done];
    return found;
}

static TARGET double NAME(sum)(const double *x, int count, double mean, int squared) {
    if (count <= TOGETHER)
        return squared ? NAME(few)(x, count, mean, 1) : NAME(few)(x, count, mean, 0);
    const int half = count / 2 - count / 2 % SUMS;
    return NAME(sum)(x, half, mean, squared) + NAME(sum)(x + half, count - half, mean, squared);
}

INLINE TARGET void NAME(range)(const double *x, int count, double *low, double *high) {
    double least = x[0], most = x[0];
    int done = 0;
    if (count >= LANES) {
        NAME(doubles) under = *(const NAME(doubles) *)x, over = under;
        for (; done + LANES <= count; done += LANES) {
            const NAME(doubles) one = *(const NAME(doubles) *)(x + done);
            const NAME(signs) less = (NAME(signs))(one < under), more = (NAME(signs))(one > over);
            under = (NAME(doubles))(((NAME(signs))one & less) | ((NAME(signs))under & ~less));
            over = (NAME(doubles))(((NAME(signs))one & more) | ((NAME(signs))over & ~more));
        }
        for (int v = 0; v < LANES; v++) {
            least = under[v] < least ? under[v] : least;
            most = over[v] > most ? over[v] : most;
        }
    }
    for (; done < count; done++) {
        least = x[done] < least ? x[done] : least;
        most = x[done] > most ? x[done] : most;
    }
    *low = least, *high = most;
}

/* Add to `passed` how many reach each edge from `first` up to `last`. To compare with every edge beats a search where there are a few
 * dozen: no branch is taken. `places`, where given, gets how many edges each number reaches, those before `first` too. */
INLINE TARGET void NAME(pass_block)(const double *x, int count, const double *edges, int first, int last, int64_t *passed,
                                    uint8_t *places) {
    NAME(signs) at[BLOCK / LANES];
    const int whole = count / LANES;
    if (places)
        for (int v = 0; v < whole; v++)
            at[v] = (NAME(signs)){0} + first;
    for (int e = first; e < last; e++) {
        const double edge = edges[e];
        /* Meanwhile a share of the next piece comes near. */
        for (int p = (e - first) * BLOCK / (last - first); p < (e - first + 1) * BLOCK / (last - first); p += LINE)
            __builtin_prefetch(x + PIECE + p, 0, 2);
        NAME(signs) reached[UNROLLED] = {{0}};
        int v = 0;
        for (; v + UNROLLED <= whole; v += UNROLLED)
#pragma GCC unroll 4
            for (int u = 0; u < UNROLLED; u++) {
                const NAME(signs) one = (NAME(signs))(((const NAME(doubles) *)(x + (v + u) * LANES))[0] >= edge);
                reached[u] -= one;
                if (places)
                    at[v + u] -= one;
            }
        for (; v < whole; v++) {
            const NAME(signs) one = (NAME(signs))(((const NAME(doubles) *)(x + v * LANES))[0] >= edge);
            reached[0] -= one;
            if (places)
                at[v] -= one;
        }
        for (int u = 1; u < UNROLLED; u++)
            reached[0] += reached[u];
        for (int l = 0; l < LANES; l++)
            passed[e] += reached[0][l];
    }
    if (places)
        for (int r = 0; r < whole * LANES; r++)
            places[r] = (uint8_t)((const int64_t *)at)[r];
    for (int r = whole * LANES; r < count; r++) {
        int reached = first;
        for (int e = first; e < last; e++) {
            passed[e] += x[r] >= edges[e];
            reached += x[r] >= edges[e];
        }
        if (places)
            places[r] = (uint8_t)reached;
    }
}

INLINE TARGET void NAME(pass)(const double *x, int count, const double *edges, int first, int last, int64_t *passed,
                              uint8_t *places) {
    for (int begin = 0; begin < count; begin += BLOCK) {
        const int some = count - begin < BLOCK ? count - begin : BLOCK;
        if (places)
            NAME(pass_block)(x + begin, some, edges, first, last, passed, places + begin);
        else
            NAME(pass_block)(x + begin, some, edges, first, last, passed, NULL);
    }
}

/* Write down those hashes that have none of the bits `reached`; returns how many. Few have none, and no branch may depend on it. */
INLINE TARGET int NAME(keep)(NAME(words) hashes, uint64_t reached, uint64_t *to) {
#if LANES == 8
    const __mmask8 none = _mm512_testn_epi64_mask((__m512i)hashes, _mm512_set1_epi64((long long)reached));
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi64(none, (__m512i)hashes));
    return __builtin_popcount(none);
#else
    int kept = 0;
    for (int l = 0; l < LANES; l++) {
        to[kept] = hashes[l];
        kept += !(hashes[l] & reached);
    }
    return kept;
#endif
}

/* Take in the hashes of numbers; none is NaN, and both zeros are one number. */
INLINE TARGET void NAME(sketch)(const double *x, int count, uint8_t *registers) {
    uint64_t hashes[HASHED];
    for (int begin = 0; begin < count; begin += HASHED) {
        const int some = count - begin < HASHED ? count - begin : HASHED, whole = some - some % LANES;
        const uint64_t reached = reached_by(registers);
        int kept = 0;
        for (int r = 0; r < whole; r += LANES) {
            NAME(words) one = (NAME(words))(*(const NAME(doubles) *)(x + begin + r) + 0.0);
            one ^= one >> SHIFT;
            one *= FIRST_FACTOR;
            one ^= one >> SHIFT;
            one *= SECOND_FACTOR;
            kept += NAME(keep)(one ^ one >> SHIFT, reached, hashes + kept);
        }
        for (int r = whole; r < some; r++)
            hashes[kept++] = hash_of(x[begin + r]);
        take(hashes, kept, registers);
    }
}

/* One piece of a column. Returns how many are not NaN. */
static TARGET int NAME(piece)(const double *x, int count, const struct bins *bins, struct counts to, uint8_t *places,
                              double *room) {
    const double *known = x, *finite = x;
    int all = count, some = count;
    double total = NAME(sum)(x, count, 0, 0);
    if (!isfinite(total)) {
        known = finite = room;
        all = some = without_nan(x, count, room);
        total = NAME(sum)(known, all, 0, 0);
    }
    NAME(sketch)(known, all, to.registers);
    const int same = isfinite(total);
    double low = -INFINITY, high = INFINITY;
    if (same && all)
        NAME(range)(known, all, &low, &high);
    int first = 0, last = bins->count;
    while (first < bins->count && bins->edges[first] <= low)
        to.passed[first++] += all;
    while (last > first && bins->edges[last - 1] > high)
        last--;
    NAME(pass)(x, count, bins->edges, first, last, to.passed, places);
    if (places && all < count)
        for (int r = 0; r < count; r++)
            if (isnan(x[r]))
                places[r] = (uint8_t)(bins->count + 1);
    if (!same) {
        some = within_range(room, all);
        total = NAME(sum)(finite, some, 0, 0);
        if (some)
            NAME(range)(finite, some, &low, &high);
    }
    to.moments[0] = some;
    if (some) {
        const double mean = total / some;
        to.moments[1] = mean, to.moments[2] = NAME(sum)(finite, some, mean, 1);
        to.moments[3] = low, to.moments[4] = high;
    }
    return all;
}

#undef LANES
#undef TARGET
#undef NAME
