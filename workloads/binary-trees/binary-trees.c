/*
 * binary-trees: builds perfect binary trees node by node with malloc, walks
 * through each of them counting the nodes, and frees it node by node.
 * Problem statement: the Computer Language Benchmarks Game.
 *
 * usage: binary-trees [depth]
 * Exit status: 0 done; 1 no memory, or the output could not be written;
 * 2 wrong arguments.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MIN_DEPTH 4u
#define MAX_DEPTH 24u
#define DEFAULT_DEPTH 16u

struct node {
    struct node *left;
    struct node *right;
};

/* A tree of 2^(depth + 1) - 1 nodes. Ends the program if there is no memory. */
static struct node *grow(uint32_t depth)
{
    struct node *node = malloc(sizeof *node);
    if (node == NULL) {
        fflush(stdout);
        fputs("binary-trees: out of memory\n", stderr);
        exit(1);
    }
    if (depth == 0) {
        node->left = node->right = NULL;
    } else {
        node->left = grow(depth - 1);
        node->right = grow(depth - 1);
    }
    return node;
}

static uint32_t count(const struct node *node)
{
    if (node->left == NULL)
        return 1;
    return 1 + count(node->left) + count(node->right);
}

static void fell(struct node *node)
{
    if (node->left != NULL) {
        fell(node->left);
        fell(node->right);
    }
    free(node);
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
    uint32_t max = DEFAULT_DEPTH;

    if (argc > 2 || (argc == 2 && parse(argv[1], 0, MAX_DEPTH, &max) != 0)) {
        fprintf(stderr, "usage: binary-trees [depth], with depth between 0 and %u\n", MAX_DEPTH);
        return 2;
    }
    if (max < MIN_DEPTH + 2)
        max = MIN_DEPTH + 2;

    struct node *stretch = grow(max + 1);
    printf("stretch tree of depth %u\t check: %u\n", (unsigned)(max + 1),
           (unsigned)count(stretch));
    fell(stretch);

    struct node *long_lived = grow(max);
    for (uint32_t depth = MIN_DEPTH; depth <= max; depth += 2) {
        uint32_t trees = (uint32_t)1 << (max - depth + MIN_DEPTH);
        uint32_t sum = 0;
        for (uint32_t i = 0; i < trees; i++) {
            struct node *tree = grow(depth);
            sum += count(tree);
            fell(tree);
        }
        printf("%u\t trees of depth %u\t check: %u\n", (unsigned)trees, (unsigned)depth,
               (unsigned)sum);
    }
    printf("long lived tree of depth %u\t check: %u\n", (unsigned)max,
           (unsigned)count(long_lived));
    fell(long_lived);

    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("binary-trees: cannot write standard output\n", stderr);
        return 1;
    }
    return 0;
}
