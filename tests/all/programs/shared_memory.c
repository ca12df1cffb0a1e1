/* Holds 160 MiB in a mapping that is shared: no private memory of its own. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>

int main(void) {
    size_t size = 160u << 20;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 2;
    memset(memory, 1, size);
    return memory[size - 1] != 1;
}
