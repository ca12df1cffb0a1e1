/*
 * wait: sleeps 250 ms, as if for an answer from elsewhere, then computes for a
 * few milliseconds; as many times as asked. Wall-clock time and processor time
 * are far apart here, which is the point.
 *
 * usage: wait [times]
 * Exit status: 0 done; 1 no sleeping, or the output could not be written;
 * 2 wrong arguments.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SLEEP_MS 250
#define ROUNDS 2000000
#define DEFAULT_TIMES 1u
#define MAX_TIMES 1000u

/* Returns 0 when the whole time has passed, else an error number. */
static int sleep_ms(int ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    int error;
    do
        error = clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left);
    while (error == EINTR);
    return error;
}

/* Each round needs the one before, so it takes its time on any machine. */
static uint64_t compute(uint64_t x)
{
    for (int i = 0; i < ROUNDS; i++) {
        x ^= x >> 29;
        x *= UINT64_C(0x9e3779b97f4a7c15);
        x += UINT64_C(0x2545f4914f6cdd1d);
    }
    return x;
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
    uint32_t times = DEFAULT_TIMES;
    uint64_t x = 1;

    if (argc > 2 || (argc == 2 && parse(argv[1], 1, MAX_TIMES, &times) != 0)) {
        fprintf(stderr, "usage: wait [times], with times between 1 and %u\n", MAX_TIMES);
        return 2;
    }
    for (uint32_t i = 0; i < times; i++) {
        int error = sleep_ms(SLEEP_MS);
        if (error != 0) {
            fprintf(stderr, "wait: cannot sleep: %s\n", strerror(error));
            return 1;
        }
        x = compute(x);
    }
    printf("waited %u x %d ms\nresult %016" PRIx64 "\n", (unsigned)times, SLEEP_MS, x);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("wait: cannot write standard output\n", stderr);
        return 1;
    }
    return 0;
}
