/* Writes 160 MiB into files in memory that no process maps. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

int main(void) {
    static char block[1 << 20];
    for (int i = 0; i < 20; i++) {
        int file = memfd_create("ballast", 0);
        if (file < 0) return 2;
        for (int k = 0; k < 8; k++)
            if (write(file, block, sizeof block) != (ssize_t)sizeof block) return 3;
    }
    return 0;
}
