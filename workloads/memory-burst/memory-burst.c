/*
 * memory-burst: takes 200 MiB, touches every page of it, gives it back, and
 * from then on works in 2 MiB. What a meter says of its memory depends on
 * whether it looks at the peak or at what is held over time; in WebAssembly the
 * memory stays with the instance, as a linear memory cannot shrink.
 *
 * usage: memory-burst [passes]
 * Exit status: 0 done; 1 no memory, or the output could not be written;
 * 2 wrong arguments.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MIB 1048576u
#define BURST_MIB 200u
#define WORK_MIB 2u
#define PAGE 4096u
#define WORDS (WORK_MIB * MIB / 8)
#define DEFAULT_PASSES 100u
#define MAX_PASSES 1000000u

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= UINT64_C(0xd1342543de82ef95);
    x ^= x >> 27;
    return x;
}

/* Writes into every page and reads it all back; 0 there is no memory. */
static int burst(uint64_t *checksum)
{
    unsigned char *block = malloc(BURST_MIB * MIB);
    if (block == NULL)
        return 0;
    /* volatile: neither the stores nor the block may be optimised away. */
    volatile unsigned char *bytes = block;
    uint32_t pages = BURST_MIB * (MIB / PAGE);
    uint64_t sum = 0;

    for (uint32_t i = 0; i < pages; i++)
        bytes[i * PAGE] = (unsigned char)(i * 7 + 1);
    for (uint32_t i = 0; i < pages; i++)
        sum = sum * 31 + bytes[i * PAGE];
    free(block);
    *checksum = sum;
    return 1;
}

static int work(uint32_t passes, uint64_t *checksum)
{
    uint64_t *words = malloc(WORDS * sizeof *words);
    if (words == NULL)
        return 0;
    uint64_t x = *checksum;

    for (uint32_t i = 0; i < WORDS; i++)
        words[i] = i;
    for (uint32_t pass = 0; pass < passes; pass++) {
        for (uint32_t i = 0; i < WORDS; i++) {
            x = mix(x + words[i]);
            words[i] = x;
        }
    }
    free(words);
    *checksum = x;
    return 1;
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
    uint32_t passes = DEFAULT_PASSES;
    uint64_t checksum = 0;

    if (argc > 2 || (argc == 2 && parse(argv[1], 1, MAX_PASSES, &passes) != 0)) {
        fprintf(stderr, "usage: memory-burst [passes], with passes between 1 and %u\n", MAX_PASSES);
        return 2;
    }
    if (!burst(&checksum) || !work(passes, &checksum)) {
        fputs("memory-burst: out of memory\n", stderr);
        return 1;
    }
    printf("burst %u MiB, then %u passes over %u MiB\nchecksum %016" PRIx64 "\n", BURST_MIB,
           (unsigned)passes, WORK_MIB, checksum);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("memory-burst: cannot write standard output\n", stderr);
        return 1;
    }
    return 0;
}
