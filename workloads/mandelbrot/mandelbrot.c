/*
 * mandelbrot: draws the Mandelbrot set on n by n points as a binary portable
 * bitmap, with at most 50 iterations a point.
 * Problem statement: the Computer Language Benchmarks Game.
 *
 * usage: mandelbrot [n]
 * Exit status: 0 done; 1 no memory, or the output could not be written;
 * 2 wrong arguments.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_N 2000u
#define MAX_N 32000u
#define ITERATIONS 50
#define BLOCK 5 /* iterations between two looks at whether all have escaped */
#define LANES 8 /* one byte of the bitmap */

/*
 * The bits of eight neighbouring points, the leftmost one highest. A point that
 * has once left the circle of radius 2 never comes back (all |c| here are below
 * 2), overflow to infinity and NaN included, so looking now and then is enough.
 */
static unsigned eight_points(const double *re, double im)
{
    double zr[LANES], zi[LANES], zr2[LANES], zi2[LANES];

    for (int k = 0; k < LANES; k++)
        zr[k] = zi[k] = zr2[k] = zi2[k] = 0.0;

    for (int done = 0; done < ITERATIONS; done += BLOCK) {
        for (int step = 0; step < BLOCK; step++) {
            for (int k = 0; k < LANES; k++) {
                zi[k] = 2.0 * zr[k] * zi[k] + im;
                zr[k] = zr2[k] - zi2[k] + re[k];
                zr2[k] = zr[k] * zr[k];
                zi2[k] = zi[k] * zi[k];
            }
        }
        int inside = 0;
        for (int k = 0; k < LANES; k++)
            inside |= zr2[k] + zi2[k] <= 4.0;
        if (!inside)
            return 0;
    }

    unsigned bits = 0;
    for (int k = 0; k < LANES; k++)
        bits = bits << 1 | (zr2[k] + zi2[k] <= 4.0);
    return bits;
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

    if (argc > 2 || (argc == 2 && parse(argv[1], 1, MAX_N, &n) != 0)) {
        fprintf(stderr, "usage: mandelbrot [n], with n between 1 and %u\n", MAX_N);
        return 2;
    }

    uint32_t row_bytes = (n + LANES - 1) / LANES;
    double *re = malloc(sizeof *re * LANES * row_bytes);
    unsigned char *row = malloc(row_bytes);
    if (re == NULL || row == NULL) {
        fputs("mandelbrot: out of memory\n", stderr);
        return 1;
    }
    for (uint32_t x = 0; x < row_bytes * LANES; x++)
        re[x] = 2.0 * (double)x / (double)n - 1.5;
    /* The bits that a row has beyond its n points are zero. */
    unsigned last_mask = 0xffu << (row_bytes * LANES - n) & 0xffu;

    printf("P4\n%u %u\n", (unsigned)n, (unsigned)n);
    for (uint32_t y = 0; y < n && !ferror(stdout); y++) {
        double im = 2.0 * (double)y / (double)n - 1.0;
        for (uint32_t b = 0; b < row_bytes; b++)
            row[b] = (unsigned char)eight_points(re + b * LANES, im);
        row[row_bytes - 1] &= (unsigned char)last_mask;
        fwrite(row, 1, row_bytes, stdout);
    }
    free(row);
    free(re);
    if (ferror(stdout) || fflush(stdout) != 0) {
        fputs("mandelbrot: cannot write standard output\n", stderr);
        return 1;
    }
    return 0;
}
