/*
 * fannkuch-redux: goes through all permutations of n numbers; for each one
 * reverses the first k numbers, k being the first number, until a one comes
 * first, and counts the reversals. Prints the alternating sum of the counts and
 * the largest. Problem statement: the Computer Language Benchmarks Game.
 *
 * usage: fannkuch-redux [n]
 * Exit status: 0 done; 1 the output could not be written; 2 wrong arguments.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MAX_N 12
#define ROW 16 /* MAX_N rounded up, so that a row is copied as one block */
#define DEFAULT_N 10u

/* Counts the reversals of one permutation (numbers from 0), using it up. */
static uint32_t count_flips(uint8_t *p)
{
    uint32_t flips = 0;
    uint32_t first = p[0];

    while (first != 0) {
        /* p[0] is only kept in `first`; it goes where the next one came from. */
        uint32_t next = p[first];
        p[first] = (uint8_t)first;
        for (uint32_t lo = 1, hi = first - 1; lo < hi; lo++, hi--) {
            uint8_t swap = p[lo];
            p[lo] = p[hi];
            p[hi] = swap;
        }
        first = next;
        flips++;
    }
    return flips;
}

static void fannkuch(uint32_t n, int32_t *checksum, uint32_t *most)
{
    uint8_t perm[ROW] = {0}, work[ROW];
    /* turns[k]: how often the first k + 1 numbers have been rotated already. */
    uint32_t turns[MAX_N] = {0};
    int32_t sum = 0;
    uint32_t max = 0;
    int odd = 0;

    for (uint32_t i = 0; i < n; i++)
        perm[i] = (uint8_t)i;

    for (;;) {
        if (perm[0] != 0) {
            memcpy(work, perm, ROW);
            uint32_t flips = count_flips(work);
            if (flips > max)
                max = flips;
            sum += odd ? -(int32_t)flips : (int32_t)flips;
        }
        odd = !odd;

        /* The next permutation: rotate the shortest prefix not yet through. */
        uint32_t k = 1;
        for (;; k++) {
            if (k >= n) {
                *checksum = sum;
                *most = max;
                return;
            }
            uint8_t head = perm[0];
            for (uint32_t i = 0; i < k; i++)
                perm[i] = perm[i + 1];
            perm[k] = head;
            if (++turns[k] <= k)
                break;
            turns[k] = 0;
        }
    }
}

/* Reads a plain decimal number between min and max. Returns 0, or -1. */
static int parse(const char *text, uint32_t min, uint32_t max, uint32_t *value)
{
    uint64_t sum = 0;
    if (*text == '\0')
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        sum = sum * 10 + (uint64_t)(*text - '0');
        if (sum > max)
            return -1;
    }
    if (sum < min)
        return -1;
    *value = (uint32_t)sum;
    return 0;
}

int main(int argc, char **argv)
{
    uint32_t n = DEFAULT_N;
    int32_t checksum;
    uint32_t most;

    if (argc > 2 || (argc == 2 && parse(argv[1], 1, MAX_N, &n) != 0)) {
        fprintf(stderr, "usage: fannkuch-redux [n], with n between 1 and %d\n", MAX_N);
        return 2;
    }
    fannkuch(n, &checksum, &most);
    printf("%d\nPfannkuchen(%u) = %u\n", (int)checksum, (unsigned)n, (unsigned)most);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("fannkuch-redux: cannot write standard output\n", stderr);
        return 1;
    }
    return 0;
}
